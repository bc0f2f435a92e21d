//! Where messages are handed to the connection.

use rumqttc::{AsyncClient, QoS};

use super::topics::Topics;

/// Messages that wait for the connection. A broker that is further behind loses some.
pub const WAITING: usize = 64;

/// Hands messages to the connection, and waits for nobody.
pub struct Outbox {
    client: AsyncClient,
    /// Facts that the broker has not confirmed.
    unconfirmed: usize,
    /// A fact was lost, and has to be told again.
    missed: bool,
}

impl Outbox {
    /// Of a connection.
    #[must_use]
    pub fn new(client: AsyncClient) -> Self {
        Self { client, unconfirmed: 0, missed: false }
    }

    /// Asks for the messages on a topic.
    pub fn subscribe(&self, topic: &str) {
        // It is asked at the beginning, when there is room.
        let _ = self.client.try_subscribe(topic, QoS::AtLeastOnce);
    }

    /// Tells what stays true, also to those who come later.
    pub fn fact(&mut self, topic: &str, payload: impl Into<Vec<u8>>) {
        match self.client.try_publish(topic, QoS::AtLeastOnce, true, payload) {
            Ok(()) => self.unconfirmed += 1,
            Err(_) => self.missed = true,
        }
    }

    /// Tells what is soon replaced, also to those who come later.
    pub fn caption(&self, topics: &Topics, text: String, json: String) {
        let text = self.client.try_publish(&topics.caption, QoS::AtMostOnce, true, text);
        if text.and(self.client.try_publish(&topics.caption_json, QoS::AtMostOnce, true, json)).is_err() {
            tracing::debug!("the broker is behind; it does not get a caption");
        }
    }

    /// Tells those who listen now.
    pub fn news(&self, topic: &str, payload: String) {
        // The next one comes soon.
        let _ = self.client.try_publish(topic, QoS::AtMostOnce, false, payload);
    }

    /// The broker confirmed a fact.
    pub fn confirmed(&mut self) {
        self.unconfirmed = self.unconfirmed.saturating_sub(1);
    }

    /// Ends the connection, if nothing waits for the broker any more.
    pub fn close_if_done(&self) {
        if self.unconfirmed == 0 {
            // Otherwise the connection breaks, which means the same.
            let _ = self.client.try_disconnect();
        }
    }

    /// Whether a fact was lost since this was asked last.
    pub fn take_missed(&mut self) -> bool {
        std::mem::take(&mut self.missed)
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::MqttOptions;

    use super::super::topics::tests::settings;
    use super::*;

    #[test]
    fn a_broker_that_is_behind_stalls_nobody_and_what_it_missed_is_known() {
        // Nobody polls the connection, as if the broker took nothing.
        let (client, _connection) = AsyncClient::new(MqttOptions::new("test", "localhost", 1), 3);
        let (mut outbox, topics) = (Outbox::new(client), Topics::new(&settings("")));
        outbox.fact("a", "1");
        for _ in 0..10 {
            outbox.caption(&topics, "a dog".to_owned(), "{}".to_owned());
            outbox.news("b", "2".to_owned());
        }
        assert!(!outbox.take_missed(), "captions that are lost are replaced by the next");
        outbox.fact("a", "3");
        assert!(outbox.take_missed());
        assert!(!outbox.take_missed());
        assert_eq!(outbox.unconfirmed, 1);
    }
}

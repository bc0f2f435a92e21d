//! What is looked after once a second: temperature, rate, and the service manager's watchdog.

use std::time::Duration;

use metalens_firmware_config::Thermal;

use super::hub::Hub;

/// How often things are looked after.
const EVERY: Duration = Duration::from_secs(1);

/// A thread that did not go round for so long hangs; a slow board's caption takes a few seconds.
const HANGS: Duration = Duration::from_secs(15);

/// Seconds over which the rate of captions is taken.
const RATE_OVER: usize = 10;

/// Looks after things until the daemon stops.
pub fn upkeep(hub: &Hub, thermal: Option<&Thermal>) {
    let watched = sd_notify::watchdog_enabled().is_some();
    let mut captions = std::collections::VecDeque::with_capacity(RATE_OVER + 1);
    while !hub.stopping() {
        let temperature = thermal.and_then(|thermal| temperature(&thermal.zone));
        if let Some(temperature) = temperature {
            hub.metrics.temperature.set(f64::from(temperature));
        }
        captions.push_back(hub.health().captions);
        if captions.len() > RATE_OVER + 1 {
            captions.pop_front();
        }
        let seconds = (captions.len() - 1).max(1) as f32;
        let rate =
            captions.back().zip(captions.front()).map_or(0.0, |(now, then)| (now - then) as f32 / seconds);
        hub.health_mut(|health| {
            health.rate = rate;
            health.temperature = temperature;
            if let (Some(limits), Some(temperature)) = (thermal, temperature) {
                health.cooling = cools(health.cooling, temperature, limits);
            }
        });
        // Only while both threads go round: a daemon that hangs is started again.
        if watched && hub.pulse.beats_within(HANGS) {
            notify(&[sd_notify::NotifyState::Watchdog]);
        }
        std::thread::sleep(EVERY);
    }
}

/// Whether it has to cool down: from the upper limit on, until it is at the lower one.
fn cools(cooling: bool, temperature: f32, limits: &Thermal) -> bool {
    if cooling { temperature > limits.resume_celsius.0 } else { temperature >= limits.pause_celsius.0 }
}

/// Degrees Celsius; the kernel writes thousandths.
fn temperature(zone: &std::path::Path) -> Option<f32> {
    let text = std::fs::read_to_string(zone).ok()?;
    text.trim().parse::<i32>().ok().map(|thousandths| thousandths as f32 / 1000.0)
}

/// Tells the service manager, if there is one.
pub fn notify(states: &[sd_notify::NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager was not told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use metalens_firmware_config::Celsius;

    use super::*;

    #[test]
    fn a_hot_board_rests_until_it_has_cooled_down() {
        let limits =
            Thermal { zone: "/dev/null".into(), pause_celsius: Celsius(80.0), resume_celsius: Celsius(70.0) };
        let mut cooling = false;
        let cools: Vec<bool> = [79.9, 80.0, 75.0, 70.1, 70.0, 75.0]
            .into_iter()
            .map(|temperature| {
                cooling = super::cools(cooling, temperature, &limits);
                cooling
            })
            .collect();
        assert_eq!(cools, [false, true, true, true, false, false]);
    }
}

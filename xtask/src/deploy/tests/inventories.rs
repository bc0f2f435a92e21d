//! Many devices.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::deploy::inventory::{Entry, read, run, table};

fn parse(text: &str) -> anyhow::Result<Vec<Entry>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("devices.toml");
    std::fs::write(&path, text).unwrap();
    read(&path)
}

fn device(name: &str, host: &str) -> String {
    format!("[[device]]\nname = {name:?}\nhost = {host:?}\nprofile = \"rpi4\"\n")
}

#[test]
fn a_device_that_fails_stops_no_other_and_the_table_tells_of_each() {
    let text = device("door", "pi@door") + &device("greenhouse", "pi@glass") + &device("shop", "pi@shop");
    let devices = parse(&text).unwrap();
    let results = run(&devices, 2, |device| match device.name.as_str() {
        "greenhouse" => Err("pi@glass: no connection".into()),
        _ => Ok("0.1.0-0123456789ab: 9 files".into()),
    });
    assert_eq!(
        table(&devices, &results),
        "door        ok      0.1.0-0123456789ab: 9 files\n\
         greenhouse  failed  pi@glass: no connection\n\
         shop        ok      0.1.0-0123456789ab: 9 files\n"
    );
}

#[test]
fn no_more_devices_are_under_way_at_a_time_than_asked_for() {
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results = run(&[(); 12], 3, |()| {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        now.fetch_sub(1, Ordering::SeqCst);
        Ok(String::new())
    });
    assert_eq!(results.len(), 12);
    assert!(most.into_inner() <= 3);
}

#[test]
fn an_inventory_that_cannot_be_meant_is_refused() {
    for (text, part) in [
        (device("door", "pi@a") + &device("door", "pi@b"), "door stands there twice"),
        (device("door", "pi@a") + &device("shop", "pi@a"), "pi@a stands there twice"),
        (device("door", "pi@a") + "prot = 22\n", "unknown field `prot`"),
        ("device = []".into(), "no [[device]]"),
    ] {
        let error = format!("{:#}", parse(&text).unwrap_err());
        assert!(error.contains(part), "{error}");
        assert!(error.contains("devices.toml"), "{error}");
    }
}

#[test]
fn a_relative_key_begins_at_the_inventory() {
    let text = device("door", "pi@door") + "port = 2222\nidentity = \"keys/door\"\n";
    let target = parse(&text).unwrap()[0].target();
    assert_eq!((target.host.as_str(), target.port), ("pi@door", Some(2222)));
    let identity = target.identity.unwrap();
    assert!(identity.is_absolute() && identity.ends_with("keys/door"), "{}", identity.display());
}

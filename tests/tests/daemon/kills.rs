//! Power cuts while samples are kept and heads are written.

use std::time::{Duration, Instant};

use metalens_tests::daemon::{Daemon, LONG, send};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::scene::*;
use super::text;

/// Moments at which it is killed; METALENS_KILLS for more.
const KILLS: usize = 25;
/// The first caption after a restart comes within this time.
const BACK: Duration = Duration::from_secs(2);
/// Samples beyond so many are removed, so that calibrations stay short.
const MANY: usize = 6;

#[test]
fn whenever_it_is_killed_it_captions_again_with_the_old_head_or_the_new_one_and_every_sample() {
    let kills = std::env::var("METALENS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut random = ChaCha8Rng::seed_from_u64(500);
    let scene = Scene::new(&[(2, 3), (6, 8)]);
    let settings = "[files]\nrate = 200\n[caption]\nmin_change = 0\n";
    // What is known to be on the medium, and what may be.
    let (mut acknowledged, mut asked): (Vec<String>, usize) = (Vec::new(), 0);
    let (mut generations, mut slowest) = (vec![Value::Null], Duration::ZERO);
    let (mut commits, mut calibrations) = (0, 0);
    for kill in 0..kills {
        let began = Instant::now();
        let mut daemon = scene.start(settings);
        let first = daemon.caption(LONG).unwrap();
        slowest = slowest.max(began.elapsed());
        assert!(began.elapsed() < BACK, "kill {kill}: {:?}", began.elapsed());

        // With the old head or the new one: what is said is what that head says, by itself.
        let generation = first["generation"].clone();
        let known = generations.contains(&generation)
            || generation.as_u64().is_some_and(|new| new <= commits + calibrations);
        assert!(known, "kill {kill}: {generation} is none of {generations:?}");
        if !generation.is_null() {
            commits = commits.max(generation.as_u64().unwrap());
            generations.push(generation);
        }
        let state = daemon.state.clone();
        let said = scene.captions(&["--state", state.to_str().unwrap()]);
        let of = said.iter().find(|(file, _)| *file == text(&first, "file")).unwrap();
        assert_eq!(text(&first, "caption"), of.1, "kill {kill}: a mixture of heads");

        let samples = daemon.get("/api/samples").unwrap().json();
        let names: Vec<String> =
            samples.as_array().unwrap().iter().map(|sample| text(sample, "name")).collect();
        for name in &acknowledged {
            assert!(names.contains(name), "kill {kill}: {name} was acknowledged and is lost");
            let picture = daemon.get(&format!("/api/samples/{name}")).unwrap();
            image::load_from_memory(&picture.body).unwrap();
        }
        assert!(names.len() <= acknowledged.len() + asked, "kill {kill}: {names:?}");
        acknowledged = names;
        asked = 0;
        while acknowledged.len() > MANY {
            let name = acknowledged.remove(0);
            assert_eq!(
                daemon.change("DELETE", &format!("/api/samples/{name}"), &Value::Null).unwrap().status,
                204
            );
        }

        let moment = Duration::from_micros(random.random_range(0..80_000));
        let victim = daemon.id();
        let plug = std::thread::spawn(move || {
            std::thread::sleep(moment);
            send("KILL", victim)
        });
        calibrations = ask(&daemon, &mut acknowledged, &mut asked);
        plug.join().unwrap().unwrap();
        daemon.kill();
    }
    println!(
        "{kills} kills, {} calibrations, the slowest first caption after {slowest:?}",
        generations.len() - 1
    );
}

/// Keeps samples and adapts until nobody answers any more; how often it may have been adapted.
fn ask(daemon: &Daemon, acknowledged: &mut Vec<String>, asked: &mut usize) -> u64 {
    let mut calibrations = 0;
    for number in 0.. {
        *asked += 1;
        match daemon.change("POST", "/api/samples", &json!({ "caption": format!("a blick {number}") })) {
            Ok(kept) if kept.status == 201 => {
                *asked -= 1;
                acknowledged.push(text(&kept.json(), "name"));
            }
            _ => break,
        }
        calibrations += 1;
        // Busy is an answer as well.
        if daemon.change("POST", "/api/calibration", &json!({ "force": true })).is_err() {
            break;
        }
    }
    calibrations
}

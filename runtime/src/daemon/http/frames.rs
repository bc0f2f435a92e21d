//! `/api/frames`: holds the frame in sight, for somebody to say what it shows.

use std::collections::VecDeque;
use std::sync::Mutex;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::json;

use super::body::{self, Body, Name};
use super::{Api, ApiError, pictures};
use crate::daemon::hub::lock;

/// Frames that are held at a time; the oldest goes.
const MOST: usize = 8;

/// Frames that are held, until they become samples or too many others are.
#[derive(Default)]
pub(super) struct Held(Mutex<Frames>);

#[derive(Default)]
struct Frames {
    /// How many were held since the start.
    count: u64,
    /// Each with its id.
    pictures: VecDeque<(String, Vec<u8>)>,
}

impl Held {
    fn push(&self, picture: Vec<u8>) -> String {
        let mut held = lock(&self.0);
        held.count += 1;
        let id = held.count.to_string();
        if held.pictures.len() == MOST {
            held.pictures.pop_front();
        }
        held.pictures.push_back((id.clone(), picture));
        id
    }

    pub fn get(&self, id: &str) -> Result<Vec<u8>, ApiError> {
        let held = lock(&self.0);
        let found = held.pictures.iter().find(|(held, _)| held == id);
        found
            .map(|(_, picture)| picture.clone())
            .ok_or_else(|| ApiError::Missing { what: "held frame", name: id.to_owned() })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

pub(super) async fn hold(State(shared): Api, body: Body) -> Result<impl IntoResponse, ApiError> {
    let Nothing {} = body::parse(&shared, body)?;
    let id = shared.held.push(pictures::seen(&shared).await?);
    Ok((StatusCode::CREATED, Json(json!({ "frame": id }))))
}

pub(super) async fn picture(State(shared): Api, Name(frame): Name) -> Result<impl IntoResponse, ApiError> {
    shared.held.get(&frame).map(pictures::picture)
}

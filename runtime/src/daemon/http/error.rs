//! What the API says when it does not do what was asked.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::CaptionerError;
use crate::adaptation::CalibrationError;
use crate::daemon::WorkshopError;
use crate::store::StateError;

/// Why a request was refused. The body is `{"error": "…"}`, one line.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("Authorization: give the token of the state's folder, as `Bearer TOKEN`")]
    Unauthorised,
    #[error("Origin: {0} is another page than this device's; name it in http.origins to trust it")]
    Origin(String),
    #[error("{0}")]
    Body(String),
    #[error("the body has more than the {0} bytes of http.max_body_bytes")]
    TooLarge(usize),
    #[error("there is no {what} {name:?}")]
    Missing { what: &'static str, name: String },
    #[error("nothing was seen yet; ask again in a second")]
    NothingSeen,
    #[error("there is no such route; /api/openapi.json has them all")]
    Route,
    #[error("this route has no such method; /api/openapi.json has them all")]
    Method,
    #[error(transparent)]
    Workshop(#[from] WorkshopError),
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorised => StatusCode::UNAUTHORIZED,
            Self::Origin(_) => StatusCode::FORBIDDEN,
            Self::Body(_) | Self::Workshop(WorkshopError::NoWord(_)) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Missing { .. }
            | Self::Route
            | Self::Workshop(WorkshopError::State(StateError::NoSample { .. })) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Workshop(
                WorkshopError::Busy
                | WorkshopError::State(StateError::NothingToUndo(_) | StateError::Pruned { .. }),
            )
            | Self::Workshop(WorkshopError::Calibration(CaptionerError::Calibration(
                CalibrationError::NoSamples,
            ))) => StatusCode::CONFLICT,
            // A full or read-only medium, or a state that another process holds: later it may go well.
            Self::NothingSeen | Self::Workshop(WorkshopError::State(_) | WorkshopError::NothingSeen) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Workshop(WorkshopError::Calibration(_) | WorkshopError::Frame(_)) | Self::Internal(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = Json(json!({ "error": self.to_string() }));
        if status == StatusCode::UNAUTHORIZED {
            return (status, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response();
        }
        (status, body).into_response()
    }
}

pub(super) async fn not_found() -> ApiError {
    ApiError::Route
}

pub(super) async fn method_not_allowed() -> ApiError {
    ApiError::Method
}

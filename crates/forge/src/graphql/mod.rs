//! GraphQL, for the parts of GitHub's schema that `gh` asks for.
//!
//! What the forge lacks is refused as GitHub refuses it: `Field 'x' doesn't exist on type 'Y'`.

mod execute;
mod mutation;
mod node;
mod parse;
mod query;
mod schema;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

pub(crate) use query::found;

use crate::api_error::ApiError;
use crate::rest::Call;

/// `POST /graphql`
pub(crate) async fn serve(call: &Call) -> Result<Response, ApiError> {
    if call.principal.is_anonymous() {
        return Err(ApiError::forbidden("API rate limit exceeded: sign in to use GraphQL."));
    }
    let body: Value = call.json()?;
    let text = body["query"].as_str().unwrap_or_default();
    let document = match parse::document(text) {
        Ok(document) => document,
        Err(error) => return Ok(Json(json!({"errors": [{"message": error.to_string()}]})).into_response()),
    };
    let answer = execute::run(call, &document, body["operationName"].as_str(), &body["variables"]).await;
    Ok(Json(answer).into_response())
}

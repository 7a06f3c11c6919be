//! Resources: listed, looked at, turned.

use super::body;
use super::guard::Peer;
use super::refusal::Refusal;
use crate::app::App;
use crate::wire;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use rheostat_api::{Changes, Problem, Resource, Resources, Turns};
use rheostat_runtime::observe::{Address, TurnError};
use std::sync::Arc;

/// Everything the host runs, with knobs and samples.
#[utoipa::path(get, path = "/resources", tag = "resources", responses((status = 200, body = Resources)))]
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Json<Resources>, Refusal> {
    app.aside(|app| {
        let resources = app.host.registry.all().iter().map(|resource| app.sampler.look(&**resource)).collect();
        Ok(Json(Resources { resources }))
    })
    .await
}

/// One resource.
#[utoipa::path(
    get, path = "/resources/{address}", tag = "resources",
    params(("address" = String, Path, description = "`kind.name`, or `pipeline.name.stage`")),
    responses((status = 200, body = Resource), (status = 404, body = Problem, content_type = "application/problem+json")),
)]
pub(super) async fn one(State(app): State<Arc<App>>, Path(address): Path<String>) -> Result<Json<Resource>, Refusal> {
    let address: Address = address.parse()?;
    app.aside(move |app| Ok(Json(app.sampler.look(&*app.host.registry.get(&address)?)))).await
}

/// Turns knobs: all values are checked before any is turned.
#[utoipa::path(
    patch, path = "/resources/{address}/knobs", tag = "resources",
    params(("address" = String, Path, description = "`kind.name`, or `pipeline.name.stage`")),
    request_body = Turns,
    responses(
        (status = 200, body = Changes, description = "what was turned"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "no such resource or knob"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "wrong type or out of range"),
    ),
)]
pub(super) async fn turn(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path(address): Path<String>,
    body: Body,
) -> Result<Json<Changes>, Refusal> {
    let address: Address = address.parse()?;
    let Turns(turns) = body::json(body, app.config.limits.body_bytes).await?;
    if turns.is_empty() {
        let detail = "no knob is named; send {\"KNOB\": VALUE}";
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "nothing-to-turn", detail));
    }
    // A hand-over may take as long as a worker's batch.
    app.aside(move |app| {
        let registry = &app.host.registry;
        let knobs = registry.get(&address)?.knobs();
        for (name, value) in &turns {
            let Some(knob) = knobs.iter().find(|knob| knob.name == name) else {
                let has = knobs.iter().map(|knob| knob.name.to_owned()).collect();
                return Err(TurnError::UnknownKnob { resource: address.to_string(), knob: name.clone(), has }.into());
            };
            knob.range.check(name, &wire::value_of(value.clone()))?;
        }
        let turned: Result<Vec<_>, _> = turns
            .into_iter()
            .map(|(knob, to)| registry.turn(&address, &knob, wire::value_of(to), peer.actor()))
            .collect();
        let mut changes: Vec<_> = turned?.iter().map(wire::change).collect();
        app.mark_unwritten(&mut changes);
        Ok(Json(Changes { changes }))
    })
    .await
}

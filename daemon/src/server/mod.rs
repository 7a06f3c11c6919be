//! The control API: its routes, a file per noun, and the doors in front of them.
//!
//! A request's way: [`door`] accepts and times it, [`guard`] lets it in, the router finds its handler here, the
//! handler talks to [`App`], and what it refuses leaves as a [`refusal`].

mod any_map;
mod body;
mod changes;
mod door;
mod guard;
mod health;
mod heap;
mod history;
mod maps;
mod metrics;
mod patience;
mod pools;
mod queues;
mod refusal;
mod resources;
mod runs;
mod stream;
mod token;
mod traffic;

pub(crate) use door::{Door, Listener, Manners, Permits};
pub(crate) use guard::Guard;
pub(crate) use refusal::Refusal;
pub(crate) use token::Token;
pub(crate) use traffic::Traffic;

use crate::app::App;
use axum::Router;
use std::sync::Arc;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The control API and the document that describes it, made from one table.
pub(crate) fn control(app: Arc<App>) -> (Router, OpenApi) {
    let info = InfoBuilder::new()
        .title("Rheostat")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Hosts concurrent resources and turns their knobs while they run."))
        .build();
    let routes = OpenApiRouter::new()
        .routes(routes!(resources::list))
        .routes(routes!(resources::one))
        .routes(routes!(resources::turn))
        .routes(routes!(changes::list))
        .routes(routes!(history::of))
        .routes(routes!(stream::attach))
        .routes(routes!(runs::catalogue))
        .routes(routes!(runs::list))
        .routes(routes!(runs::submit))
        .routes(routes!(runs::check))
        .routes(routes!(runs::one))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::result))
        .routes(routes!(maps::get))
        .routes(routes!(maps::top))
        .routes(routes!(maps::scan))
        .routes(routes!(maps::put))
        .routes(routes!(maps::add))
        .routes(routes!(maps::delete))
        .routes(routes!(maps::batch))
        .routes(routes!(queues::push))
        .routes(routes!(queues::pop))
        .routes(routes!(pools::blocks))
        .routes(routes!(heap::profile))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::document));
    let (router, document) =
        OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build()).nest("/v1", routes).split_for_parts();
    app.publish(&document);
    (router.with_state(app), document)
}

/// What the metrics listener serves.
pub(crate) fn exposition(app: Arc<App>) -> Router {
    Router::new()
        .route("/metrics", axum::routing::get(metrics::scrape))
        .route("/healthz", axum::routing::get(health::alive))
        .with_state(app)
}

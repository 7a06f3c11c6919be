//! Hosted pools: who has blocks of them.

use super::refusal::Refusal;
use crate::app::App;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rheostat_api::{PoolBlocks, PoolClass, PoolDeed, PoolFault, PoolScope, Problem};
use rheostat_runtime::observe::{Address, Kind};
use rheostat_runtime::pool::{Deed, Fault, OfClass, OfScope, Pool};
use std::any::Any;
use std::sync::Arc;

/// What is out of a pool, by size class and, as far as it is guarded, by who allocated it; the last faults of its guard.
#[utoipa::path(
    get, path = "/pools/{name}/blocks", tag = "pools",
    params(("name" = String, Path, description = "name of the pool")),
    responses(
        (status = 200, body = PoolBlocks),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "no such pool"),
    ),
)]
pub(super) async fn blocks(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<PoolBlocks>, Refusal> {
    let address = Address::new(Kind::Pool, &name)?;
    // The book of a guarded pool may be long.
    app.aside(move |app| {
        let resource: Arc<dyn Any + Send + Sync> = app.host.registry.get(&address)?;
        let pool = resource.downcast::<Pool>().map_err(|_| {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "no-blocks", format!("{address} is a pool of another make"))
        })?;
        Ok(Json(blocks_of(&pool)))
    })
    .await
}

fn blocks_of(pool: &Pool) -> PoolBlocks {
    let outstanding = pool.outstanding();
    let class = |class: &OfClass| PoolClass {
        block_bytes: class.block_bytes.map(|bytes| bytes as u64),
        blocks: class.blocks,
        bytes: class.bytes,
    };
    let scope = |scope: &OfScope| PoolScope {
        scope: scope.scope.to_owned(),
        blocks: scope.blocks,
        bytes: scope.bytes,
        oldest_s: scope.oldest.as_secs_f64(),
    };
    PoolBlocks {
        guarded: pool.is_guarded(),
        blocks: outstanding.blocks,
        bytes: outstanding.bytes,
        unattributed: outstanding.unattributed(),
        classes: outstanding.classes.iter().map(class).collect(),
        scopes: outstanding.scopes.iter().map(scope).collect(),
        faults: pool.faults().iter().map(fault).collect(),
    }
}

fn fault(fault: &Fault) -> PoolFault {
    PoolFault {
        kind: fault.kind.to_string(),
        detail: fault.to_string(),
        address: format!("{:#x}", fault.address),
        offset: fault.offset as i64,
        block_bytes: fault.class.map(|bytes| bytes as u64),
        len: fault.len.map(|len| len as u64),
        allocated: fault.allocated.map(deed),
        freed: fault.freed.map(deed),
        found: deed(fault.found),
    }
}

fn deed(deed: Deed) -> PoolDeed {
    PoolDeed {
        scope: deed.scope().to_owned(),
        thread: deed.row().map(|row| row as u64),
        ago_s: deed.at().elapsed().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rheostat_runtime::pool::PoolSetup;

    #[test]
    fn blocks_and_faults_are_told() {
        let pool = Pool::with_setup("told", PoolSetup::default()).unwrap();
        let unguarded = pool.alloc(120).unwrap();
        pool.turn_guarded(true);
        let kept = pool.alloc(100).unwrap();
        let freed = pool.alloc(30).unwrap();
        // SAFETY: the copy makes the double free that is to be told; a guarded pool survives it.
        drop(unsafe { std::ptr::read(&raw const freed) });
        drop(freed);
        let blocks = blocks_of(&pool);
        assert_eq!((blocks.guarded, blocks.blocks, blocks.bytes, blocks.unattributed), (true, 2, 220, 1));
        assert_eq!(blocks.classes, [PoolClass { block_bytes: Some(120), blocks: 2, bytes: 220 }]);
        assert_eq!((blocks.scopes.len(), blocks.scopes[0].blocks, blocks.scopes[0].bytes), (1, 1, 100));
        let fault = &blocks.faults[0];
        assert_eq!((blocks.faults.len(), fault.kind.as_str(), fault.len), (1, "double_free", Some(30)));
        assert!(fault.allocated.is_some() && fault.freed.is_some() && fault.detail.contains("was freed twice"));
        drop((unguarded, kept));
        assert_eq!(blocks_of(&pool).blocks, 0);
    }
}

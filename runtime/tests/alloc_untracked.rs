//! Allocation scopes in a process that did not opt in: they say nothing rather than zero.

use rheostat_runtime::alloc::{Class, Scope, is_tracked, totals};

#[test]
fn scopes_say_nothing_in_a_process_that_does_not_track() {
    let scope = Scope::new(Class::Runs, "test");
    {
        let _in = scope.enter();
        drop(std::hint::black_box(vec![1u8; 100]));
    }
    assert!(!is_tracked());
    assert_eq!((scope.counts(), totals()), (None, None));
}

//! Finalizers, links, toggle references and disclaim procedures of the Boehm interface.

use dunegc_tests::oracle;

#[test]
fn finalizers() {
    oracle("finalize.c").same();
}

#[test]
fn links() {
    oracle("links.c").same();
}

#[test]
fn toggle_references() {
    oracle("toggle.c").same();
}

#[test]
fn disclaim() {
    oracle("disclaim.c").same();
}

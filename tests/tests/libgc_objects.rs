//! Objects under the Boehm interface: allocation, kinds, described layouts, interior pointers, C++.

use dunegc_tests::oracle;

#[test]
fn interior_pointers() {
    oracle("interior.c").same();
}

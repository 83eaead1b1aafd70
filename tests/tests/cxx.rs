//! C++: operator new and delete in all forms.

use dunegc_tests::{Run, compile_cxx, in_modes};

#[test]
fn new_and_delete_in_all_forms() {
    in_modes(&Run::new(compile_cxx("new_delete")));
}

//! C++ `operator new` and `operator delete`, all replaceable forms of C++17.
//!
//! A failing `new` is handed to the C++ runtime's own definition of the same operator: that allocates again through our
//! `malloc`, calls the new handler in a loop, throws `std::bad_alloc` or returns null, as the standard asks of that form.
//! So this library neither links a C++ runtime nor throws itself. Exceptions pass through frames here that have unwind
//! tables and nothing to clean up.
//!
//! The standard lets a program replace only some forms; the remaining ones are then defined by those. So if the program sees
//! another definition of a form than ours, our nothrow, array and sized forms pass calls on to the runtime's, which
//! call the program's.

mod delete;
mod new;
mod runtime;

pub use delete::*;
pub use new::*;

use core::sync::atomic::{AtomicU8, Ordering};

const UNKNOWN: u8 = 0;
const OURS: u8 = 1;
const REPLACED: u8 = 2;

static PLAIN_FORMS: AtomicU8 = AtomicU8::new(UNKNOWN);

/// The forms that others are defined by are ours, as far as is known without looking.
#[inline(always)]
fn all_ours() -> bool {
    PLAIN_FORMS.load(Ordering::Relaxed) == OURS
}

/// As [`all_ours`], looking if nobody did before.
#[cold]
fn check_all_ours() -> bool {
    if PLAIN_FORMS.load(Ordering::Relaxed) == UNKNOWN {
        let state = if runtime::any_form_replaced() {
            REPLACED
        } else {
            OURS
        };
        PLAIN_FORMS.store(state, Ordering::Relaxed);
    }
    all_ours()
}

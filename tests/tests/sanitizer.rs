//! The C interface inside a program built with AddressSanitizer and UndefinedBehaviorSanitizer.
//!
//! The sanitizer brings its own malloc; collected memory comes from the library, which must find its pointers on
//! instrumented stacks and must not be disturbed by the shadow memory.

use dunegc_tests::{Run, compile_with, link_with_library};

#[test]
fn c_interface_under_address_sanitizer() {
    let link = link_with_library();
    let mut args = vec!["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    args.extend(link.iter().map(String::as_str));
    let outcome = Run::new(compile_with("c_api", "sanitized", &args))
        // The leak check stops the threads by ptrace, which containers may refuse.
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .limit(300)
        .ok();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("ok\n", ""),
        "{outcome}"
    );
}

//! Guest mode: whether the program could run in it, and what it would cost.

use super::report::Check;
use libdune::Dune;

/// What the engine on /dev/dune or /dev/kvm can do here, by its self-test.
pub fn kvm() -> Check {
    let note = "for programs that use libdune; the collector does not need it";
    match Dune::probe() {
        Ok(caps) => {
            let flush = if caps.software_interrupts {
                "a flush needs no exit"
            } else {
                "a flush is an exit"
            };
            let value = format!(
                "works ({}, {}): code at {} % of the time outside, a system call {} ticks, {flush}",
                caps.engine,
                nested_paging(|path| std::fs::read_to_string(path).ok()),
                caps.speed,
                caps.system_call
            );
            Check::ok("guest mode", value, note)
        }
        Err(e) => Check::ok("guest mode", format!("refused: {e}"), note),
    }
}

/// Whether the processor translates guest addresses a second time, by what its module of KVM says. Without that, the kernel keeps copies of the guest's
/// tables: everything works, and first uses and changes of memory cost more.
fn nested_paging(read: impl Fn(&str) -> Option<String>) -> &'static str {
    let parameters = [
        "/sys/module/kvm_amd/parameters/npt",
        "/sys/module/kvm_intel/parameters/ept",
    ];
    match parameters
        .into_iter()
        .find_map(read)
        .as_deref()
        .map(str::trim)
    {
        Some("Y" | "1") => "nested paging",
        Some(_) => "no nested paging, so memory costs more",
        None => "nested paging not known",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nested_paging_is_what_the_module_says() {
        let with = |npt: Option<&'static str>| {
            super::nested_paging(|path| npt.filter(|_| path.ends_with("npt")).map(str::to_owned))
        };
        assert_eq!(with(Some("1\n")), "nested paging");
        assert_eq!(with(Some("Y\n")), "nested paging");
        assert_eq!(with(Some("N\n")), "no nested paging, so memory costs more");
        assert_eq!(with(None), "nested paging not known");
    }

    #[test]
    fn guest_mode_comes_to_a_verdict() {
        let value = super::kvm().value;
        let known = ["works (", "refused: "];
        assert!(known.iter().any(|k| value.starts_with(k)), "{value}");
    }
}

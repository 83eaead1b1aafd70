//! What the library would choose on this machine with this environment.

use super::report::Choice;
use super::system::{Cores, HugePages};
use dunegc::config::{self, Config, OPTIONS};
use dunegc::dirty::{self, Kind};

pub fn choices(config: &Config, cores: &Cores, thp: &HugePages) -> Vec<Choice> {
    let choice = |name, value: String, why: String| Choice { name, value, why };
    let mut all = vec![
        choice(
            "mode",
            config.mode.to_string(),
            origin("DUNEGC_MODE", config),
        ),
        markers(config, cores),
        choice(
            "stop signal",
            config.stop_signal().to_string(),
            match config.signal {
                Some(_) => origin("DUNEGC_SIGNAL", config),
                None => {
                    "a real-time signal near the upper end, which programs seldom use".to_owned()
                }
            },
        ),
        huge_pages(config, thp),
        written_pages(config),
    ];
    let shown = [
        "DUNEGC_MODE",
        "DUNEGC_MARKERS",
        "DUNEGC_SIGNAL",
        "DUNEGC_HUGEPAGES",
        "DUNEGC_DIRTY",
    ];
    for option in OPTIONS.iter().filter(|o| !shown.contains(&o.name)) {
        if !option.is_default(config) {
            let value = option.value(config).to_string();
            all.push(choice(
                option.name,
                value,
                "from the environment".to_owned(),
            ));
        }
    }
    all
}

/// Where the value of an option comes from.
fn origin(variable: &str, config: &Config) -> String {
    let option = OPTIONS
        .iter()
        .find(|o| o.name == variable)
        .expect("a known variable");
    if option.is_default(config) {
        format!("the default; {variable} takes {}", option.expected)
    } else {
        format!("{variable} in the environment")
    }
}

fn markers(config: &Config, cores: &Cores) -> Choice {
    let usable = cores
        .quota
        .map_or(cores.allowed, |q| cores.allowed.min(q.ceil() as usize))
        .max(1);
    let (value, why) = match config.markers {
        Some(n) => (
            n.to_string(),
            "DUNEGC_MARKERS in the environment".to_owned(),
        ),
        None if !config.background => (
            "1".to_owned(),
            "DUNEGC_BACKGROUND=no: no helper threads".to_owned(),
        ),
        None => (
            format!("up to {usable}"),
            "one per usable core, fewer for a small heap".to_owned(),
        ),
    };
    Choice {
        name: "markers",
        value,
        why,
    }
}

fn huge_pages(config: &Config, thp: &HugePages) -> Choice {
    let setting = thp.setting.as_deref().unwrap_or("unknown");
    let (value, why) = match (config.huge_pages, setting) {
        (config::HugePages::Off, _) => ("off", "DUNEGC_HUGEPAGES in the environment".to_owned()),
        (_, "never" | "unknown") => ("off", format!("the system's setting is {setting}")),
        (config::HugePages::On, _) => ("on", "DUNEGC_HUGEPAGES in the environment".to_owned()),
        (config::HugePages::Auto, _) => (
            "auto",
            format!("the heap decides by size; the system's setting is {setting}"),
        ),
    };
    Choice {
        name: "huge pages",
        value: value.to_owned(),
        why,
    }
}

/// The source that the library would use, and why not a better one.
fn written_pages(config: &Config) -> Choice {
    let wanted = match config.dirty {
        // This command is not in guest mode; programs run by `--engine kvm` are.
        config::Dirty::Auto | config::Dirty::PagemapScan => Kind::PagemapScan,
        config::Dirty::Dune => Kind::Dune,
        config::Dirty::DuneWp => Kind::DuneWp,
        config::Dirty::SoftDirty => Kind::SoftDirty,
        config::Dirty::Mprotect => Kind::Mprotect,
        config::Dirty::None => Kind::None,
    };
    let mut why = match config.dirty {
        config::Dirty::Auto => "the best that works here".to_owned(),
        _ => "DUNEGC_DIRTY in the environment".to_owned(),
    };
    let mut kind = wanted;
    while let Err(e) = dirty::available(kind) {
        why += &format!("; not {kind}: {e}");
        kind = dirty::next_after(kind);
    }
    if kind == Kind::None {
        why += "; collections stop the world";
    }
    Choice {
        name: "written pages",
        value: kind.to_string(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_is_explained() {
        let cores = Cores {
            online: 8,
            allowed: 4,
            quota: Some(1.5),
        };
        let thp = HugePages {
            setting: Some("never".to_owned()),
        };
        let config = Config::builder()
            .markers(None)
            .zeal(3)
            .build()
            .expect("valid");
        let all = choices(&config, &cores, &thp);
        let get = |name: &str| {
            all.iter()
                .find(|c| c.name == name)
                .map(|c| c.value.as_str())
        };
        assert_eq!(get("markers"), Some("up to 2"));
        assert_eq!(get("huge pages"), Some("off"));
        assert_eq!(get("stop signal"), Some("62"));
        assert_eq!(get("DUNEGC_ZEAL"), Some("3"));
        assert_eq!(get("DUNEGC_LOG"), None);
        let forced = Config::builder().dirty(config::Dirty::None);
        let all = choices(&forced.build().expect("valid"), &cores, &thp);
        let written = all.iter().find(|c| c.name == "written pages");
        let written = written.expect("always explained");
        assert_eq!(written.value, "none");
        assert!(written.why.contains("DUNEGC_DIRTY"), "{}", written.why);
        let config = Config::builder().background(false).build().expect("valid");
        assert_eq!(markers(&config, &cores).value, "1");
    }
}

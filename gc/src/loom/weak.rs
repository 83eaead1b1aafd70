//! A weak pointer made strong while a collection looks for what is reachable.

use super::peek::peek;
use crate::sync::{AtomicUsize, Ordering::Relaxed};
use loom::sync::{Arc, Mutex};
use loom::thread;

const OBJECT: usize = 0x1000;

/// What a collection sees and does at one point of the thread's program: the world is stopped.
struct World {
    /// A root word of the thread.
    root: usize,
    freed: bool,
}

/// A pointer that came out is the object's, and the object is there.
#[test]
fn loom_upgrade_gives_a_live_object_or_none() {
    loom::model(|| {
        let link = Arc::new(AtomicUsize::new(!OBJECT));
        let world = Arc::new(Mutex::new(World {
            root: 0,
            freed: false,
        }));
        let collector = {
            let (link, world) = (link.clone(), world.clone());
            thread::spawn(move || {
                for _ in 0..2 {
                    let mut world = world.lock().unwrap();
                    if world.root != OBJECT {
                        link.store(0, Relaxed);
                        world.freed = true;
                    }
                }
            })
        };
        let upgrade = || {
            peek(&link, |addr| {
                world.lock().unwrap().root = addr;
                addr
            })
        };
        let strong = upgrade();
        if let Some(addr) = strong {
            assert_eq!(addr, OBJECT);
            assert!(!world.lock().unwrap().freed, "a pointer to a freed object");
        }
        collector.join().unwrap();
        assert_eq!(
            upgrade(),
            strong,
            "while the pointer is held, the link stays; once clear, it stays clear"
        );
    });
}

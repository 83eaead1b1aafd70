//! A second thread, which does what it is told while the first one waits: frees there are remote frees.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};

type Order = Box<dyn FnOnce() -> usize + Send>;

/// Runs `order` on the other thread and waits for the result.
pub fn elsewhere(order: impl FnOnce() -> usize + Send + 'static) -> usize {
    static HELPER: OnceLock<Mutex<(Sender<Order>, Receiver<usize>)>> = OnceLock::new();
    let helper = HELPER.get_or_init(|| {
        let (order_to, orders) = channel::<Order>();
        let (result_to, results) = channel();
        std::thread::spawn(move || {
            for order in orders {
                if result_to.send(order()).is_err() {
                    return;
                }
            }
        });
        Mutex::new((order_to, results))
    });
    let helper = helper.lock().expect("no step panics and goes on");
    helper
        .0
        .send(Box::new(order))
        .expect("the thread waits for orders");
    helper.1.recv().expect("the thread answers")
}

//! Marking step by step, for who wants to know the order.

use super::Marker;

impl Marker<'_> {
    /// Takes all objects that were found and not scanned, and calls `f` with their starts. None of them was begun.
    pub fn take_grey(&mut self, f: &mut dyn FnMut(usize)) {
        loop {
            while !self.top.is_empty() {
                // SAFETY: the packet is this marker's own, and not empty.
                f(unsafe { self.top.pop() }.addr());
            }
            self.top = self.stack.next_packet(self.top);
            if self.top.is_empty() {
                return;
            }
        }
    }
}

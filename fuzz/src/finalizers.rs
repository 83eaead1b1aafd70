//! Finalizers: run once, for objects that nothing reaches, with all intact that the object reaches, the reaching object first.

use core::ffi::c_void;
use core::hint::black_box;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::calls;
use crate::model::{Id, Model};

/// A finalizer that has not run.
#[derive(Debug)]
pub struct Finalizer {
    /// The object that its data points to, which that keeps alive.
    pub data: Option<Id>,
    /// What its data is.
    hidden: usize,
    /// The root word that makes the object reachable again.
    back: Option<usize>,
}

/// The model while finalizers are invoked.
static INVOKING: AtomicPtr<Model> = AtomicPtr::new(ptr::null_mut());

extern "C" fn finalize(object: *mut c_void, data: *mut c_void) {
    let model = INVOKING.load(Relaxed);
    assert!(
        !model.is_null(),
        "a finalizer runs though nobody invoked it"
    );
    // SAFETY: `invoke` lent it, and does not use it before its call returns.
    let model = unsafe { &mut *model };
    let found = model
        .objects
        .iter()
        .find(|(_, o)| o.address() == object as usize);
    let id = *found.expect("a finalizer runs for an object that exists").0;
    model.finalized(id, data as usize);
    // Nothing else keeps the object while it is looked at.
    black_box(object);
}

impl Model {
    /// Sets a finalizer with `data`, and a root word that it puts the object in.
    pub fn set_finalizer(&mut self, id: Id, data: Option<Id>, back: Option<usize>, boehm: bool) {
        let value = data.map_or(0, |d| self.objects[&d].address());
        let had = self.objects[&id].finalizer.as_ref().map(|f| f.hidden);
        let o = self.objects.get_mut(&id).expect("chosen");
        let p = o.pointer();
        if boehm {
            let (mut old, mut old_data) = (None, ptr::null_mut());
            calls::GC_register_finalizer(
                p,
                Some(finalize),
                value as *mut c_void,
                &raw mut old,
                &raw mut old_data,
            );
            if o.kind.is_collected() {
                assert_eq!(old.is_some(), had.is_some(), "old finalizer of {o:?}");
                assert_eq!(
                    old_data as usize,
                    had.map_or(0, |h| !h),
                    "old data of {o:?}"
                );
            }
        } else {
            let want = if o.kind.is_collected() { 0 } else { -1 };
            assert_eq!(
                calls::dunegc_set_finalizer(p, Some(finalize), value as *mut c_void),
                want,
                "{o:?}"
            );
        }
        if o.kind.is_collected() {
            o.finalizer = Some(Finalizer {
                data,
                hidden: !value,
                back,
            });
        }
    }

    /// Removes the finalizer of `id`.
    pub fn drop_finalizer(&mut self, id: Id) {
        let o = self.objects.get_mut(&id).expect("chosen");
        if o.kind.is_collected() {
            assert_eq!(
                calls::dunegc_set_finalizer(o.pointer(), None, ptr::null_mut()),
                0,
                "{o:?}"
            );
            o.finalizer = None;
        }
    }

    /// `id` goes: it is no finalizer's data any more.
    pub fn forget_data(&mut self, id: Id) {
        for o in self.objects.values_mut() {
            if let Some(f) = &mut o.finalizer
                && f.data == Some(id)
            {
                f.data = None;
            }
        }
    }

    fn finalized(&mut self, id: Id, data: usize) {
        let o = &self.objects[&id];
        let f = o
            .finalizer
            .as_ref()
            .unwrap_or_else(|| panic!("object {id} has no finalizer left: {o:?}"));
        assert_eq!(
            data, !f.hidden,
            "data of the finalizer of object {id}: {o:?}"
        );
        assert!(
            o.lost,
            "the finalizer of object {id} runs, which is reachable: {o:?}"
        );
        let back = f.back;
        for (&other, first) in &self.objects {
            let waits = other != id && first.lost && first.finalizer.is_some();
            assert!(
                !(waits && self.reach([other]).contains(&id)),
                "object {id} is finalized before object {other}, which reaches it: {o:?}, {first:?}"
            );
        }
        self.reach([id]).into_iter().for_each(|id| self.check(id));
        self.objects.get_mut(&id).expect("found above").finalizer = None;
        if let Some(i) = back {
            self.set_root(i, Some((id, 0)));
        }
    }

    /// Runs what is due.
    pub fn invoke(&mut self) -> usize {
        let before = self.finalizers();
        INVOKING.store(self, Relaxed);
        let n = calls::GC_invoke_finalizers() as usize;
        INVOKING.store(ptr::null_mut(), Relaxed);
        assert_eq!(
            n,
            before - self.finalizers(),
            "finalizers run, by the library's and the model's count"
        );
        self.settle();
        n
    }

    fn finalizers(&self) -> usize {
        self.objects
            .values()
            .filter(|o| o.finalizer.is_some())
            .count()
    }
}

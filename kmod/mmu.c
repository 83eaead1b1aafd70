// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nested page tables, filled when the guest first uses a page, from what the
 * opener's address space holds at that moment. Nothing is pinned: when the
 * kernel takes a page or a right away from the process, the notifier takes it
 * from the guest before that is done.
 *
 * The formats of entries are the backends'. Tables are given back when the file
 * is closed; entries go when they must.
 */

#include <linux/mm.h>
#include <linux/io.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <asm/pgtable.h>

#include "internal.h"

#define PRESENT		BIT_ULL(0)
#define ADDRESS		GENMASK_ULL(51, 12)

#define ENTRIES		512
#define CHUNK_SHIFT	28

static unsigned int index_at(u64 gpa, int level)
{
	return gpa >> (PAGE_SHIFT + 9 * level) & (ENTRIES - 1);
}

static u64 *below(u64 entry)
{
	return phys_to_virt(entry & ADDRESS);
}

static u64 *new_table(void)
{
	return (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
}

/* The table of 4 KiB entries for gpa, or NULL. Under mmu_lock. */
static u64 *find_leaf(struct dune_vm *vm, u64 gpa)
{
	u64 *table = vm->root;
	int level;

	for (level = dune_backend->levels - 1; level > 0; level--) {
		u64 entry = table[index_at(gpa, level)];

		if (!(entry & PRESENT))
			return NULL;
		table = below(entry);
	}
	return table;
}

/* Tables that may be needed, allocated before the lock is taken. */
struct spare {
	u64 *tables[4];
	int count;
};

static int fill_spare(struct spare *spare, int count)
{
	while (spare->count < count) {
		u64 *table = new_table();

		if (!table)
			return -ENOMEM;
		spare->tables[spare->count++] = table;
	}
	return 0;
}

static void drop_spare(struct spare *spare)
{
	while (spare->count)
		free_page((unsigned long)spare->tables[--spare->count]);
}

/* The same as find_leaf, with tables made on the way. Under mmu_lock. */
static u64 *make_leaf(struct dune_vm *vm, u64 gpa, struct spare *spare)
{
	u64 *table = vm->root;
	int level;

	for (level = dune_backend->levels - 1; level > 0; level--) {
		u64 *entry = &table[index_at(gpa, level)];

		if (!(*entry & PRESENT)) {
			u64 *fresh = spare->tables[--spare->count];

			WRITE_ONCE(*entry, virt_to_phys(fresh) |
					   dune_backend->table);
		}
		table = below(*entry);
	}
	return table;
}

static void acknowledge(void *unused)
{
}

/*
 * Waits until no CPU runs the guest with translations from before: each that
 * runs it leaves it for this interrupt, and sees vm->flushes before it enters
 * again. Pairs with the barrier in guest.c.
 */
static void flush_guest(struct dune_vm *vm)
{
	/* What was changed is seen by those that are not in the mask yet. */
	smp_mb();
	preempt_disable();
	smp_call_function_many(vm->running, acknowledge, NULL, true);
	preempt_enable();
}

/* Takes [gpa, end), inside of one chunk. Under mmu_lock. */
static bool zap(struct dune_vm *vm, u64 gpa, u64 end)
{
	bool zapped = false;

	while (gpa < end) {
		u64 next = min(end, (gpa | (PMD_SIZE - 1)) + 1);
		u64 *leaf = find_leaf(vm, gpa);

		for (; leaf && gpa < next; gpa += PAGE_SIZE) {
			u64 *entry = &leaf[index_at(gpa, 0)];

			if (*entry & PRESENT) {
				/* The processor may set A and D meanwhile. */
				xchg(entry, 0);
				zapped = true;
			}
		}
		gpa = next;
	}
	return zapped;
}

static bool invalidate(struct mmu_interval_notifier *notifier,
		       const struct mmu_notifier_range *range,
		       unsigned long sequence)
{
	struct dune_vm *vm = container_of(notifier, struct dune_vm, notifier);
	bool zapped = false;
	unsigned long number;
	void *value;

	spin_lock(&vm->mmu_lock);
	mmu_interval_set_seq(notifier, sequence);
	xa_for_each_range(&vm->reverse, number, value,
			  range->start >> CHUNK_SHIFT,
			  (range->end - 1) >> CHUNK_SHIFT) {
		u64 first = (u64)number << CHUNK_SHIFT;
		u64 gpa = (u64)xa_to_value(value) << CHUNK_SHIFT;
		u64 from = max_t(u64, range->start, first) - first;
		u64 to = min_t(u64, range->end, first + DUNE_CHUNK_SIZE) - first;

		zapped |= zap(vm, gpa + from, gpa + to);
	}
	if (zapped)
		WRITE_ONCE(vm->flushes, vm->flushes + 1);
	spin_unlock(&vm->mmu_lock);
	if (zapped)
		flush_guest(vm);
	return true;
}

static const struct mmu_interval_notifier_ops notifier_ops = {
	.invalidate = invalidate,
};

/*
 * A page that has no struct page to hold, such as those of the vDSO's data:
 * read-only, of ordinary cached memory, nothing else. Under mmap_read_lock.
 */
static int find_special(struct vm_area_struct *vma, unsigned long address,
			unsigned long *pfn)
{
	int ret = -EFAULT;

	if (!(vma->vm_flags & VM_PFNMAP) ||
	    !(vma->vm_flags & VM_READ) ||
	    (vma->vm_flags & (VM_WRITE | VM_EXEC)))
		return -EFAULT;
#ifdef DUNE_FOLLOW_PFNMAP
	{
		struct follow_pfnmap_args args = {
			.vma = vma,
			.address = address,
		};

		if (follow_pfnmap_start(&args))
			return -EFAULT;
		if (!(pgprot_val(args.pgprot) & _PAGE_CACHE_MASK) &&
		    pfn_valid(args.pfn)) {
			*pfn = args.pfn;
			ret = 0;
		}
		follow_pfnmap_end(&args);
	}
#else
	{
		spinlock_t *lock;	/* of the page table */
		pte_t *ptep, pte;

#ifdef DUNE_FOLLOW_PTE_VMA
		if (follow_pte(vma, address, &ptep, &lock))
#else
		if (follow_pte(vma->vm_mm, address, &ptep, &lock))
#endif
			return -EFAULT;
		pte = READ_ONCE(*ptep);
		if (!(pte_flags(pte) & _PAGE_CACHE_MASK) &&
		    pfn_valid(pte_pfn(pte))) {
			*pfn = pte_pfn(pte);
			ret = 0;
		}
		pte_unmap_unlock(ptep, lock);
	}
#endif
	return ret;
}

/* Enters a page. Under mmu_lock; true if another page was there. */
static bool install(u64 *entry, unsigned long pfn, u64 rights)
{
	u64 new = (u64)pfn << PAGE_SHIFT | dune_backend->page | rights;
	u64 old = READ_ONCE(*entry);
	bool other = false;

	if ((old & PRESENT) && (old & ADDRESS) == (new & ADDRESS)) {
		/* One more right; what was executable or writable stays so. */
		new |= old & (dune_backend->write | dune_backend->exec);
		if (!(old & dune_backend->no_exec))
			new &= ~dune_backend->no_exec;
	} else {
		other = old & PRESENT;
	}
	xchg(entry, new);
	return other;
}

/*
 * Makes a page usable for an access of the guest, if the process could do the
 * same access itself. The page is looked up first, then the mapping under its
 * lock, then the sequence under ours: whatever changes one of them later
 * finds the entry and takes it away.
 */
int dune_mmu_fault(struct dune_vm *vm, u64 gpa, bool write, bool exec)
{
	struct mm_struct *mm = vm->mm;
	struct spare spare = {};
	struct vm_area_struct *vma;
	unsigned long address, sequence, pfn;
	struct page *page;
	bool known, other = false;
	u64 rights;
	void *chunk;
	int ret;

	if (gpa >> 47)
		return -EFAULT;
	chunk = xa_load(&vm->chunks, gpa >> CHUNK_SHIFT);
	if (!chunk)
		return -EFAULT;
	address = (xa_to_value(chunk) << CHUNK_SHIFT) |
		  (gpa & (DUNE_CHUNK_SIZE - 1) & PAGE_MASK);
	if (address >= TASK_SIZE_MAX)
		return -EFAULT;
	/* Tables stay once they are there. */
	spin_lock(&vm->mmu_lock);
	known = find_leaf(vm, gpa);
	spin_unlock(&vm->mmu_lock);
	if (!known) {
		ret = fill_spare(&spare, dune_backend->levels - 1);
		if (ret)
			goto out;
	}

	do {
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		page = NULL;
		sequence = mmu_interval_read_begin(&vm->notifier);
		ret = get_user_pages_fast(address, 1, write ? FOLL_WRITE : 0,
					  &page);
		if (ret == 1) {
			pfn = page_to_pfn(page);
		} else if (ret == -EFAULT && !write && !exec) {
			/* Brings a page of a special mapping in. */
			if (fault_in_readable((void __user *)address, 1))
				break;
		} else {
			ret = ret < 0 ? ret : -EFAULT;
			break;
		}

		mmap_read_lock(mm);
		vma = vma_lookup(mm, address);
		if (!vma || (write && !(vma->vm_flags & VM_WRITE)) ||
		    (exec && !(vma->vm_flags & VM_EXEC)))
			ret = -EFAULT;
		else if (!page)
			ret = find_special(vma, address, &pfn);
		else
			ret = 0;
		if (!ret) {
			rights = vma->vm_flags & VM_EXEC ?
				 dune_backend->exec : dune_backend->no_exec;
			if (write)
				rights |= dune_backend->write;
			spin_lock(&vm->mmu_lock);
			if (mmu_interval_read_retry(&vm->notifier, sequence)) {
				ret = -EAGAIN;
			} else {
				u64 *leaf = make_leaf(vm, gpa, &spare);

				/* As KVM: it is as good as written. */
				if (write)
					SetPageDirty(page);
				other = install(&leaf[index_at(gpa, 0)], pfn,
						rights);
				if (other)
					WRITE_ONCE(vm->flushes,
						   vm->flushes + 1);
			}
			spin_unlock(&vm->mmu_lock);
		}
		mmap_read_unlock(mm);
		if (page)
			put_page(page);
	} while (ret == -EAGAIN);

	if (other)
		flush_guest(vm);
out:
	drop_spare(&spare);
	return ret;
}

int dune_mmu_init(struct dune_vm *vm)
{
	int ret;

	if (!zalloc_cpumask_var(&vm->running, GFP_KERNEL))
		return -ENOMEM;
	vm->root = new_table();
	if (!vm->root) {
		ret = -ENOMEM;
		goto no_root;
	}
	ret = mmu_interval_notifier_insert(&vm->notifier, vm->mm, 0,
					   TASK_SIZE_MAX, &notifier_ops);
	if (ret)
		goto no_notifier;
	return 0;

no_notifier:
	free_page((unsigned long)vm->root);
no_root:
	free_cpumask_var(vm->running);
	return ret;
}

static void free_tables(u64 *table, int level)
{
	int i;

	if (level) {
		for (i = 0; i < ENTRIES; i++)
			if (table[i] & PRESENT)
				free_tables(below(table[i]), level - 1);
		cond_resched();
	}
	free_page((unsigned long)table);
}

/* No vCPU runs any more, and none will. */
void dune_mmu_destroy(struct dune_vm *vm)
{
	mmu_interval_notifier_remove(&vm->notifier);
	free_tables(vm->root, dune_backend->levels - 1);
	free_cpumask_var(vm->running);
}

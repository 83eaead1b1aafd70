// SPDX-License-Identifier: GPL-2.0-only
/*
 * Entering a guest: what is the same for every kind of virtualisation.
 */

#include <linux/hw_breakpoint.h>
#include <linux/percpu.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/fpu/api.h>
#include <asm/mce.h>
#include <asm/nospec-branch.h>
#include <asm/special_insns.h>

#include "internal.h"

struct here {
	bool enabled;
	u32 next_asid;
	u64 asid_generation;
	u64 last_vm;
};

static DEFINE_PER_CPU(struct here, here_cpu);

/* On the CPU itself, which stays the same. */
int dune_enable_cpu(void)
{
	struct here *here = this_cpu_ptr(&here_cpu);
	int ret;

	if (here->enabled)
		return 0;
	ret = dune_backend->enable();
	if (ret)
		return ret;
	/* Whoever had it before may have left translations. */
	here->asid_generation++;
	here->next_asid = dune_backend->asids;
	here->last_vm = 0;
	here->enabled = true;
	return 0;
}

void dune_disable_cpu(void)
{
	struct here *here = this_cpu_ptr(&here_cpu);
	unsigned long flags;

	local_irq_save(flags);
	if (here->enabled) {
		here->enabled = false;
		dune_backend->disable();
	}
	local_irq_restore(flags);
}

/*
 * An identifier that no translation carries yet is a flush of the guest's own;
 * when all are used up, one flush of everything makes them new.
 */
static unsigned int choose_asid(struct dune_cpu *cpu, struct here *here)
{
	u64 flushes = READ_ONCE(cpu->vm->flushes);
	unsigned int flush = 0;

	if (cpu->cpu != smp_processor_id() || cpu->flushes != flushes)
		flush |= DUNE_NESTED_CHANGED;
	if (!flush && !cpu->flush &&
	    cpu->asid_generation == here->asid_generation)
		return 0;
	if (here->next_asid >= dune_backend->asids) {
		here->asid_generation++;
		here->next_asid = 1;
		flush |= DUNE_NEW_GENERATION;
	}
	cpu->asid = here->next_asid++;
	cpu->asid_generation = here->asid_generation;
	cpu->cpu = smp_processor_id();
	cpu->flushes = flushes;
	cpu->flush = false;
	return flush | DUNE_NEW_ASID;
}

/* Interrupts are off; virtualisation is on here. */
static void enter(struct dune_cpu *cpu, struct here *here)
{
	struct dune_vm *vm = cpu->vm;
	u32 pkru = 0;

	/* The guest's vector registers are the thread's, here and after. */
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();
	if (here->last_vm != vm->id) {
		indirect_branch_prediction_barrier();
		here->last_vm = vm->id;
	}

	cpumask_set_cpu(smp_processor_id(), vm->running);
	/* Pairs with flush_guest(): it sees the bit, or we what it changed. */
	smp_mb();

	/* XRSTOR in the guest reaches it. */
	if (cpu_feature_enabled(X86_FEATURE_OSPKE))
		pkru = rdpkru();
	dune_backend->enter(cpu, choose_asid(cpu, here));
	if (cpu_feature_enabled(X86_FEATURE_OSPKE) && rdpkru() != pkru)
		wrpkru(pkru);
	/* The exit has turned breakpoints off. */
	if (hw_breakpoint_active())
		hw_breakpoint_restore();

	cpumask_clear_cpu(smp_processor_id(), vm->running);
}

int dune_run(struct dune_cpu *cpu, struct dune_run *run)
{
	struct here *here;

	preempt_disable();
	if (dune_backend->prepare)
		dune_backend->prepare(cpu);
	local_irq_disable();
	here = this_cpu_ptr(&here_cpu);
	/* What the caller has looked at may have come since. */
	if (!here->enabled || need_resched() || signal_pending(current)) {
		bool off = !here->enabled;

		local_irq_enable();
		preempt_enable();
		if (off) {
			/* The CPU is being unplugged, or the machine goes down. */
			run->exit = DUNE_EXIT_INTERRUPTED;
			return 1;
		}
		return 0;
	}
	enter(cpu, here);
	local_irq_enable();
	preempt_enable();
	return dune_backend->handle(cpu, run);
}

int dune_fault(struct dune_cpu *cpu, struct dune_run *run, u64 gpa, bool write,
	       bool exec)
{
	int ret = dune_mmu_fault(cpu->vm, gpa, write, exec);

	if (!ret || (ret == -EINTR && signal_pending(current)))
		return 0;
	run->exit = DUNE_EXIT_REFUSED;
	run->detail = -ret;
	run->address = gpa;
	return 1;
}

/* Where interrupts are still off. */
void dune_machine_check(void)
{
#ifdef CONFIG_X86_MCE
	struct pt_regs regs = {
		.cs = 3,	/* as if user code had been running */
		.flags = X86_EFLAGS_IF,
	};

	do_machine_check(&regs);
#endif
}

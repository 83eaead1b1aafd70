// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD's virtualisation (AMD64 Architecture Programmer's Manual, volume 2,
 * chapter 15 "Secure Virtual Machine").
 *
 * A guest may do what user code may do, and own page tables, descriptor tables
 * and exceptions. All that could reach further - ports, MSRs, control and debug
 * registers, caches, virtualisation itself - faults in it.
 */

#include <linux/cc_platform.h>
#include <linux/gfp.h>
#include <linux/hw_breakpoint.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/fpu/api.h>
#include <asm/mce.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/processor-flags.h>
#include <asm/special_insns.h>
#include <asm/svm.h>
#include <asm/trapnr.h>

#include "dune.h"

void dune_svm_enter(u64 vmcb, struct dune_gprs *gprs, u64 host);

#define IOPM_ORDER	2	/* 12 KiB */
#define MSRPM_ORDER	1	/* 8 KiB */

/* What a guest may have set in RFLAGS: what a program may, RF and AC. */
#define FLAGS_ALLOWED	(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | \
			 X86_EFLAGS_ZF | X86_EFLAGS_SF | X86_EFLAGS_TF | \
			 X86_EFLAGS_IF | X86_EFLAGS_DF | X86_EFLAGS_OF | \
			 X86_EFLAGS_NT | X86_EFLAGS_RF | X86_EFLAGS_AC | \
			 X86_EFLAGS_ID)

/* Error code of a nested page fault: like that of a page fault. */
#define FAULT_WRITE	BIT_ULL(1)
#define FAULT_FETCH	BIT_ULL(4)

struct svm_cpu {
	bool enabled;
	struct page *host_save;	/* VM_HSAVE_PA: VMRUN's own */
	struct page *host;	/* VMSAVE's */
	u32 next_asid;
	u64 asid_generation;
	u64 last_vm;
	u64 xss;
};

static DEFINE_PER_CPU(struct svm_cpu, svm_cpu);
static struct page *iopm;
static struct page *msrpm;
static u32 asids;

int svm_check(void)
{
	u64 vm_cr;

	if (boot_cpu_data.x86_vendor != X86_VENDOR_AMD &&
	    boot_cpu_data.x86_vendor != X86_VENDOR_HYGON) {
		pr_err("dune: only AMD's virtualisation (SVM) is supported\n");
		return -ENODEV;
	}
	if (!boot_cpu_has(X86_FEATURE_SVM)) {
		pr_err("dune: the processor has no SVM\n");
		return -ENODEV;
	}
	if (!boot_cpu_has(X86_FEATURE_NPT)) {
		pr_err("dune: the processor has no nested paging\n");
		return -ENODEV;
	}
	if (cc_platform_has(CC_ATTR_MEM_ENCRYPT)) {
		pr_err("dune: memory encryption is on, which is not supported\n");
		return -ENODEV;
	}
#ifdef X86_FEATURE_FRED
	if (cpu_feature_enabled(X86_FEATURE_FRED)) {
		pr_err("dune: FRED is on, which is not supported\n");
		return -ENODEV;
	}
#endif
	rdmsrl(MSR_VM_CR, vm_cr);
	if (vm_cr & BIT_ULL(4)) {	/* SVMDIS */
		pr_err("dune: the firmware has turned SVM off\n");
		return -EPERM;
	}
	asids = cpuid_ebx(0x8000000a);
	if (asids < 3) {
		pr_err("dune: too few address space identifiers\n");
		return -ENODEV;
	}
	return 0;
}

int svm_init(void)
{
	int cpu;

	iopm = alloc_pages(GFP_KERNEL, IOPM_ORDER);
	msrpm = alloc_pages(GFP_KERNEL, MSRPM_ORDER);
	if (!iopm || !msrpm)
		goto fail;
	/* Every port and every MSR is intercepted. */
	memset(page_address(iopm), 0xff, PAGE_SIZE << IOPM_ORDER);
	memset(page_address(msrpm), 0xff, PAGE_SIZE << MSRPM_ORDER);
	for_each_possible_cpu(cpu) {
		struct svm_cpu *svm = per_cpu_ptr(&svm_cpu, cpu);

		svm->host_save = alloc_page(GFP_KERNEL | __GFP_ZERO);
		svm->host = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!svm->host_save || !svm->host)
			goto fail;
	}
	return 0;
fail:
	svm_exit();
	return -ENOMEM;
}

void svm_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct svm_cpu *svm = per_cpu_ptr(&svm_cpu, cpu);

		if (svm->host_save)
			__free_page(svm->host_save);
		if (svm->host)
			__free_page(svm->host);
	}
	if (iopm)
		__free_pages(iopm, IOPM_ORDER);
	if (msrpm)
		__free_pages(msrpm, MSRPM_ORDER);
}

/* On the CPU itself, which stays the same. */
int svm_enable_cpu(void)
{
	struct svm_cpu *svm = this_cpu_ptr(&svm_cpu);
	u64 efer;

	if (svm->enabled)
		return 0;
	rdmsrl(MSR_EFER, efer);
	if (efer & EFER_SVME) {
		pr_warn_ratelimited("dune: CPU %d's SVM is in use by another hypervisor (kvm_amd?)\n",
				    smp_processor_id());
		return -EBUSY;
	}
	wrmsrl(MSR_EFER, efer | EFER_SVME);
	wrmsrl(MSR_VM_HSAVE_PA, page_to_phys(svm->host_save));
	/* Whoever had it before may have left translations. */
	svm->asid_generation++;
	svm->next_asid = asids;
	svm->last_vm = 0;
	svm->xss = 0;
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		rdmsrl(MSR_IA32_XSS, svm->xss);
	svm->enabled = true;
	return 0;
}

void svm_disable_cpu(void)
{
	struct svm_cpu *svm = this_cpu_ptr(&svm_cpu);
	unsigned long flags;
	u64 efer;

	local_irq_save(flags);
	if (svm->enabled) {
		svm->enabled = false;
		wrmsrl(MSR_VM_HSAVE_PA, 0);
		rdmsrl(MSR_EFER, efer);
		wrmsrl(MSR_EFER, efer & ~EFER_SVME);
	}
	local_irq_restore(flags);
}

static void intercept(struct vmcb_control_area *control, int bit)
{
	control->intercepts[bit / 32] |= BIT(bit % 32);
}

static const u8 intercepts[] = {
	INTERCEPT_INTR, INTERCEPT_NMI, INTERCEPT_SMI, INTERCEPT_INIT,
	INTERCEPT_RDPMC, INTERCEPT_RSM, INTERCEPT_INVD, INTERCEPT_HLT,
	INTERCEPT_INVLPGA, INTERCEPT_IOIO_PROT, INTERCEPT_MSR_PROT,
	INTERCEPT_TASK_SWITCH, INTERCEPT_SHUTDOWN, INTERCEPT_VMRUN,
	INTERCEPT_VMMCALL, INTERCEPT_VMLOAD, INTERCEPT_VMSAVE,
	INTERCEPT_STGI, INTERCEPT_CLGI, INTERCEPT_SKINIT, INTERCEPT_ICEBP,
	INTERCEPT_WBINVD, INTERCEPT_MONITOR, INTERCEPT_MWAIT,
	INTERCEPT_MWAIT_COND, INTERCEPT_XSETBV, INTERCEPT_RDPRU,
	INTERCEPT_CR0_WRITE, INTERCEPT_CR4_WRITE,
	/* A machine check is the host's. */
	INTERCEPT_EXCEPTION_OFFSET + MC_VECTOR,
	/* These could keep the processor from ever leaving the guest. */
	INTERCEPT_EXCEPTION_OFFSET + DB_VECTOR,
	INTERCEPT_EXCEPTION_OFFSET + AC_VECTOR,
};

static void set_segment(struct vmcb_seg *segment, u16 selector, u16 attributes)
{
	segment->selector = selector;
	segment->attrib = attributes;
	segment->limit = 0xffffffff;
	segment->base = 0;
}

/* Code and data segments of privilege level 0; level 3 comes by IRET. */
static void set_kernel(struct vmcb_save_area *save)
{
	set_segment(&save->cs, 0x10, 0xa9b);
	set_segment(&save->ss, 0x18, 0xc93);
	save->cpl = 0;
}

int svm_vcpu_create(struct dune_cpu *cpu, const struct dune_vcpu *start)
{
	struct vmcb_control_area *control;
	struct vmcb_save_area *save;
	struct vmcb *vmcb;
	int i;

	BUILD_BUG_ON(sizeof(struct vmcb) > PAGE_SIZE);
	vmcb = (struct vmcb *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vmcb)
		return -ENOMEM;
	control = &vmcb->control;
	save = &vmcb->save;

	for (i = 0; i < ARRAY_SIZE(intercepts); i++)
		intercept(control, intercepts[i]);
	/* Reads and writes of all debug registers. */
	control->intercepts[INTERCEPT_DR] = 0xffffffff;
	control->iopm_base_pa = page_to_phys(iopm);
	control->msrpm_base_pa = page_to_phys(msrpm);
	control->int_ctl = V_INTR_MASKING_MASK;
	control->nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
	control->nested_cr3 = virt_to_phys(cpu->vm->root);

	set_kernel(save);
	set_segment(&save->ds, 0, 0xc93);
	set_segment(&save->es, 0, 0xc93);
	set_segment(&save->fs, 0, 0xc93);
	set_segment(&save->gs, 0, 0xc93);
	set_segment(&save->ldtr, 0, 0x82);
	save->ldtr.limit = 0;
	set_segment(&save->tr, start->task_selector, 0x8b);
	save->tr.limit = 103;
	save->tr.base = start->task;
	save->gdtr.base = start->gdt;
	save->gdtr.limit = start->gdt_limit;
	save->idtr.base = start->idt;
	save->idtr.limit = start->idt_limit;
	save->cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE |
		    X86_CR0_WP | X86_CR0_AM | X86_CR0_PG;
	save->cr3 = start->root;
	save->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	if (cpu_feature_enabled(X86_FEATURE_XSAVE))
		save->cr4 |= X86_CR4_OSXSAVE;
	if (cpu_feature_enabled(X86_FEATURE_FSGSBASE))
		save->cr4 |= X86_CR4_FSGSBASE;
	save->efer = EFER_SVME | EFER_SCE | EFER_LME | EFER_LMA | EFER_NX;
	save->star = start->star;
	save->lstar = start->lstar;
	save->cstar = start->lstar;
	save->sfmask = start->sfmask;
	save->rflags = X86_EFLAGS_FIXED;
	save->dr6 = DR6_RESERVED;
	save->dr7 = 0x400;
	/* All types are write-back: a guest cannot turn caches off. */
	save->g_pat = 0x0606060606060606ULL;

	cpu->vmcb = vmcb;
	cpu->cpu = -1;
	return 0;
}

void svm_vcpu_destroy(struct dune_cpu *cpu)
{
	free_page((unsigned long)cpu->vmcb);
}

void svm_set(struct dune_cpu *cpu, const struct dune_run *run)
{
	struct vmcb_save_area *save = &cpu->vmcb->save;
	const struct dune_regs *r = &run->regs;

	if (run->set & DUNE_SET_REGS) {
		cpu->gprs = (struct dune_gprs){
			.rbx = r->rbx, .rcx = r->rcx, .rdx = r->rdx,
			.rsi = r->rsi, .rdi = r->rdi, .rbp = r->rbp,
			.r8 = r->r8, .r9 = r->r9, .r10 = r->r10,
			.r11 = r->r11, .r12 = r->r12, .r13 = r->r13,
			.r14 = r->r14, .r15 = r->r15,
		};
		save->rax = r->rax;
		save->rsp = r->rsp;
		save->rip = r->rip;
		save->rflags = (r->rflags & FLAGS_ALLOWED) | X86_EFLAGS_FIXED;
		cpu->vmcb->control.event_inj = 0;
		cpu->vmcb->control.int_state = 0;
	}
	if (run->set & DUNE_SET_BASES) {
		save->fs.base = run->fs_base;
		save->gs.base = run->gs_base;
	}
	if (run->set & DUNE_SET_KERNEL)
		set_kernel(save);
	if (run->set & DUNE_SET_FLUSH)
		cpu->flush = true;
}

void svm_get(struct dune_cpu *cpu, struct dune_run *run)
{
	const struct vmcb_save_area *save = &cpu->vmcb->save;
	const struct dune_gprs *g = &cpu->gprs;

	run->regs = (struct dune_regs){
		.rax = save->rax, .rbx = g->rbx, .rcx = g->rcx, .rdx = g->rdx,
		.rsi = g->rsi, .rdi = g->rdi, .rsp = save->rsp, .rbp = g->rbp,
		.r8 = g->r8, .r9 = g->r9, .r10 = g->r10, .r11 = g->r11,
		.r12 = g->r12, .r13 = g->r13, .r14 = g->r14, .r15 = g->r15,
		.rip = save->rip, .rflags = save->rflags,
	};
	run->fs_base = save->fs.base;
	run->gs_base = save->gs.base;
	run->cr2 = save->cr2;
}

/*
 * An identifier that no translation carries yet is a flush of the guest's own;
 * when all are used up, one flush of everything makes them new (15.16).
 */
static void choose_asid(struct dune_cpu *cpu, struct svm_cpu *svm)
{
	struct vmcb_control_area *control = &cpu->vmcb->control;
	u64 flushes = READ_ONCE(cpu->vm->flushes);

	control->tlb_ctl = TLB_CONTROL_DO_NOTHING;
	if (!cpu->flush && cpu->flushes == flushes &&
	    cpu->cpu == smp_processor_id() &&
	    cpu->asid_generation == svm->asid_generation)
		return;
	if (svm->next_asid >= asids) {
		svm->asid_generation++;
		svm->next_asid = 1;
		control->tlb_ctl = TLB_CONTROL_FLUSH_ALL_ASID;
	}
	control->asid = svm->next_asid++;
	cpu->asid_generation = svm->asid_generation;
	cpu->cpu = smp_processor_id();
	cpu->flushes = flushes;
	cpu->flush = false;
}

/* Interrupts are off; SVM is on here. */
static void enter(struct dune_cpu *cpu, struct svm_cpu *svm)
{
	struct dune_vm *vm = cpu->vm;
	u32 pkru = 0;

	/* The guest's vector registers are the thread's, here and after. */
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();
	if (svm->last_vm != vm->id) {
		indirect_branch_prediction_barrier();
		svm->last_vm = vm->id;
	}

	cpumask_set_cpu(smp_processor_id(), vm->running);
	/* Pairs with flush_guest(): it sees the bit, or we what it changed. */
	smp_mb();
	choose_asid(cpu, svm);

	/* XRSTOR and XRSTORS in the guest reach what these two control. */
	if (cpu_feature_enabled(X86_FEATURE_OSPKE))
		pkru = rdpkru();
	if (svm->xss)
		wrmsrl(MSR_IA32_XSS, 0);
	dune_svm_enter(virt_to_phys(cpu->vmcb), &cpu->gprs,
		       page_to_phys(svm->host));
	if (svm->xss)
		wrmsrl(MSR_IA32_XSS, svm->xss);
	if (cpu_feature_enabled(X86_FEATURE_OSPKE) && rdpkru() != pkru)
		wrpkru(pkru);
	/* The exit has turned breakpoints off. */
	if (hw_breakpoint_active())
		hw_breakpoint_restore();

	cpumask_clear_cpu(smp_processor_id(), vm->running);
}

/* An event whose delivery was cut short happens again, unless its instruction does. */
static void keep_event(struct vmcb_control_area *control)
{
	u32 event = control->exit_int_info;
	u32 vector = event & SVM_EVTINJ_VEC_MASK;

	control->event_inj = 0;
	if ((event & SVM_EVTINJ_VALID) &&
	    (event & SVM_EVTINJ_TYPE_MASK) == SVM_EVTINJ_TYPE_EXEPT &&
	    vector != BP_VECTOR && vector != OF_VECTOR) {
		control->event_inj = event;
		control->event_inj_err = control->exit_int_info_err;
	}
}

static void inject(struct vmcb_control_area *control, u32 vector, bool coded)
{
	control->event_inj = vector | SVM_EVTINJ_TYPE_EXEPT | SVM_EVTINJ_VALID |
			     (coded ? SVM_EVTINJ_VALID_ERR : 0);
	control->event_inj_err = 0;
}

static void machine_check(void)
{
#ifdef CONFIG_X86_MCE
	struct pt_regs regs = {
		.cs = 3,	/* as if user code had been running */
		.flags = X86_EFLAGS_IF,
	};

	do_machine_check(&regs);
#endif
}

static int handle_exit(struct dune_cpu *cpu, struct dune_run *run)
{
	struct vmcb_control_area *control = &cpu->vmcb->control;
	u32 code = control->exit_code;
	u64 info = control->exit_info_1;
	int ret;

	keep_event(control);
	switch (code) {
	case SVM_EXIT_INTR:
	case SVM_EXIT_NMI:
	case SVM_EXIT_SMI:
	case SVM_EXIT_INIT:
		return 0;
	case SVM_EXIT_EXCP_BASE + MC_VECTOR:
		/* Seen to where interrupts were still off. */
		return 0;
	case SVM_EXIT_NPF:
		ret = dune_mmu_fault(cpu->vm, control->exit_info_2,
				     info & FAULT_WRITE, info & FAULT_FETCH);
		if (!ret || (ret == -EINTR && signal_pending(current)))
			return 0;
		run->exit = DUNE_EXIT_REFUSED;
		run->detail = -ret;
		run->address = control->exit_info_2;
		return 1;
	case SVM_EXIT_HLT:
		cpu->vmcb->save.rip += 1;
		run->exit = DUNE_EXIT_HALT;
		return 1;
	case SVM_EXIT_EXCP_BASE + DB_VECTOR:
	case SVM_EXIT_EXCP_BASE + AC_VECTOR:
	case SVM_EXIT_ICEBP:
		run->exit = DUNE_EXIT_EXCEPTION;
		run->detail = code == SVM_EXIT_EXCP_BASE + AC_VECTOR ?
			      AC_VECTOR : DB_VECTOR;
		return 1;
	case SVM_EXIT_SHUTDOWN:
		/* What is saved is undefined (15.14.3). */
		cpu->dead = true;
		run->exit = DUNE_EXIT_SHUTDOWN;
		return 1;
	case SVM_EXIT_WRITE_CR0:
	case SVM_EXIT_WRITE_CR4:
	case SVM_EXIT_READ_DR0 ... SVM_EXIT_WRITE_DR0 + 15:
	case SVM_EXIT_RDPMC:
	case SVM_EXIT_INVD:
	case SVM_EXIT_IOIO:
	case SVM_EXIT_MSR:
	case SVM_EXIT_TASK_SWITCH:
	case SVM_EXIT_WBINVD:
	case SVM_EXIT_XSETBV:
		inject(control, GP_VECTOR, true);
		return 0;
	case SVM_EXIT_RSM:
	case SVM_EXIT_INVLPGA:
	case SVM_EXIT_VMRUN:
	case SVM_EXIT_VMMCALL:
	case SVM_EXIT_VMLOAD:
	case SVM_EXIT_VMSAVE:
	case SVM_EXIT_STGI:
	case SVM_EXIT_CLGI:
	case SVM_EXIT_SKINIT:
	case SVM_EXIT_MONITOR:
	case SVM_EXIT_MWAIT:
	case SVM_EXIT_MWAIT_COND:
	case SVM_EXIT_RDPRU:
		inject(control, UD_VECTOR, false);
		return 0;
	case (u32)SVM_EXIT_ERR:
		cpu->dead = true;
		run->exit = DUNE_EXIT_INVALID;
		return 1;
	default:
		run->exit = DUNE_EXIT_UNKNOWN;
		run->detail = code;
		return 1;
	}
}

int svm_run(struct dune_cpu *cpu, struct dune_run *run)
{
	struct svm_cpu *svm;

	preempt_disable();
	local_irq_disable();
	svm = this_cpu_ptr(&svm_cpu);
	/* What the caller has looked at may have come since. */
	if (!svm->enabled || need_resched() || signal_pending(current)) {
		bool off = !svm->enabled;

		local_irq_enable();
		preempt_enable();
		if (off) {
			/* The CPU is being unplugged, or the machine goes down. */
			run->exit = DUNE_EXIT_INTERRUPTED;
			return 1;
		}
		return 0;
	}
	enter(cpu, svm);
	if (cpu->vmcb->control.exit_code == SVM_EXIT_EXCP_BASE + MC_VECTOR)
		machine_check();
	local_irq_enable();
	preempt_enable();
	return handle_exit(cpu, run);
}

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
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/pgtable.h>
#include <asm/processor-flags.h>
#include <asm/svm.h>
#include <asm/trapnr.h>

#include "internal.h"

void dune_svm_enter(u64 vmcb, struct dune_gprs *gprs, u64 host);

#define IOPM_ORDER	2	/* 12 KiB */
#define MSRPM_ORDER	1	/* 8 KiB */

/* Error code of a nested page fault: like that of a page fault. */
#define FAULT_WRITE	BIT_ULL(1)
#define FAULT_FETCH	BIT_ULL(4)

/*
 * Nested entries (15.25 "Nested paging") have the host's format, 5.3.3 "4-Kbyte
 * page translation"; every access of the guest counts as a user's.
 */
#define PRESENT		BIT_ULL(0)
#define WRITABLE	BIT_ULL(1)
#define USER		BIT_ULL(2)
#define ACCESSED	BIT_ULL(5)
#define DIRTY		BIT_ULL(6)
#define NO_EXECUTE	BIT_ULL(63)

struct svm_vcpu {
	struct dune_cpu common;
	struct vmcb *vmcb;
};

struct here {
	struct page *host_save;	/* VM_HSAVE_PA: VMRUN's own */
	struct page *host;	/* VMSAVE's */
	u64 xss;
};

static DEFINE_PER_CPU(struct here, here_cpu);
static struct page *iopm;
static struct page *msrpm;

static struct vmcb *vmcb_of(struct dune_cpu *cpu)
{
	return container_of(cpu, struct svm_vcpu, common)->vmcb;
}

static int check(u32 *asids)
{
	u64 vm_cr;

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
	rdmsrl(MSR_VM_CR, vm_cr);
	if (vm_cr & BIT_ULL(4)) {	/* SVMDIS */
		pr_err("dune: the firmware has turned SVM off\n");
		return -EPERM;
	}
	*asids = cpuid_ebx(0x8000000a);
	if (*asids < 3) {
		pr_err("dune: too few address space identifiers\n");
		return -ENODEV;
	}
	return 0;
}

static void svm_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct here *here = per_cpu_ptr(&here_cpu, cpu);

		if (here->host_save)
			__free_page(here->host_save);
		if (here->host)
			__free_page(here->host);
	}
	if (iopm)
		__free_pages(iopm, IOPM_ORDER);
	if (msrpm)
		__free_pages(msrpm, MSRPM_ORDER);
}

static int svm_enable(void)
{
	struct here *here = this_cpu_ptr(&here_cpu);
	u64 efer;

	rdmsrl(MSR_EFER, efer);
	if (efer & EFER_SVME) {
		pr_warn_ratelimited("dune: CPU %d's SVM is in use by another hypervisor (kvm_amd?)\n",
				    smp_processor_id());
		return -EBUSY;
	}
	wrmsrl(MSR_EFER, efer | EFER_SVME);
	wrmsrl(MSR_VM_HSAVE_PA, page_to_phys(here->host_save));
	here->xss = 0;
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		rdmsrl(MSR_IA32_XSS, here->xss);
	return 0;
}

static void svm_disable(void)
{
	u64 efer;

	wrmsrl(MSR_VM_HSAVE_PA, 0);
	rdmsrl(MSR_EFER, efer);
	wrmsrl(MSR_EFER, efer & ~EFER_SVME);
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
	INTERCEPT_CR0_WRITE, INTERCEPT_CR4_WRITE, INTERCEPT_CR8_WRITE,
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

static int svm_create(struct dune_cpu *cpu, const struct dune_vcpu *start)
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

	container_of(cpu, struct svm_vcpu, common)->vmcb = vmcb;
	return 0;
}

static void svm_destroy(struct dune_cpu *cpu)
{
	free_page((unsigned long)vmcb_of(cpu));
}

static void svm_set(struct dune_cpu *cpu, const struct dune_run *run)
{
	struct vmcb *vmcb = vmcb_of(cpu);
	struct vmcb_save_area *save = &vmcb->save;
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
		save->rflags = (r->rflags & DUNE_RFLAGS) | X86_EFLAGS_FIXED;
		vmcb->control.event_inj = 0;
		vmcb->control.int_state = 0;
	}
	if (run->set & DUNE_SET_BASES) {
		save->fs.base = run->fs_base;
		save->gs.base = run->gs_base;
	}
	if (run->set & DUNE_SET_KERNEL)
		set_kernel(save);
}

static void svm_get(struct dune_cpu *cpu, struct dune_run *run)
{
	const struct vmcb_save_area *save = &vmcb_of(cpu)->save;
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

static void svm_enter(struct dune_cpu *cpu, unsigned int flush)
{
	struct here *here = this_cpu_ptr(&here_cpu);
	struct vmcb *vmcb = vmcb_of(cpu);

	/* A new identifier has no translations (15.16 "TLB control"). */
	vmcb->control.asid = cpu->asid;
	vmcb->control.tlb_ctl = flush & DUNE_NEW_GENERATION ?
				TLB_CONTROL_FLUSH_ALL_ASID :
				TLB_CONTROL_DO_NOTHING;
	/* XRSTORS in the guest reaches what it controls. */
	if (here->xss)
		wrmsrl(MSR_IA32_XSS, 0);
	dune_svm_enter(virt_to_phys(vmcb), &cpu->gprs, page_to_phys(here->host));
	/*
	 * The guest's DR6 stays where it is (15.6 "#VMEXIT"), and the kernel would
	 * take what the next debug exception finds there for its own.
	 */
	if (unlikely(vmcb->save.dr6 != DR6_RESERVED)) {
		set_debugreg(DR6_RESERVED, 6);
		vmcb->save.dr6 = DR6_RESERVED;
	}
	if (here->xss)
		wrmsrl(MSR_IA32_XSS, here->xss);
	if (vmcb->control.exit_code == SVM_EXIT_EXCP_BASE + MC_VECTOR)
		dune_machine_check();
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

static int svm_handle(struct dune_cpu *cpu, struct dune_run *run)
{
	struct vmcb *vmcb = vmcb_of(cpu);
	struct vmcb_control_area *control = &vmcb->control;
	u32 code = control->exit_code;
	u64 info = control->exit_info_1;

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
		return dune_fault(cpu, run, control->exit_info_2,
				  info & FAULT_WRITE, info & FAULT_FETCH);
	case SVM_EXIT_HLT:
		vmcb->save.rip += 1;
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
	case SVM_EXIT_WRITE_CR8:
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

static struct dune_backend svm = {
	.name = "AMD SVM",
	.number = DUNE_BACKEND_SVM,
	.cpu_size = sizeof(struct svm_vcpu),
	.table = PRESENT | WRITABLE | USER | ACCESSED,
	.page = PRESENT | USER | ACCESSED,
	.write = WRITABLE | DIRTY,
	.no_exec = NO_EXECUTE,
	.exit = svm_exit,
	.enable = svm_enable,
	.disable = svm_disable,
	.create = svm_create,
	.destroy = svm_destroy,
	.set = svm_set,
	.get = svm_get,
	.enter = svm_enter,
	.handle = svm_handle,
};

const struct dune_backend *dune_svm_init(void)
{
	int ret, cpu;

	ret = check(&svm.asids);
	if (ret)
		return ERR_PTR(ret);
	/* The processor walks as many levels as the host's own tables have. */
	svm.levels = pgtable_l5_enabled() ? 5 : 4;
	iopm = alloc_pages(GFP_KERNEL, IOPM_ORDER);
	msrpm = alloc_pages(GFP_KERNEL, MSRPM_ORDER);
	if (!iopm || !msrpm)
		goto fail;
	/* Every port and every MSR is intercepted. */
	memset(page_address(iopm), 0xff, PAGE_SIZE << IOPM_ORDER);
	memset(page_address(msrpm), 0xff, PAGE_SIZE << MSRPM_ORDER);
	for_each_possible_cpu(cpu) {
		struct here *here = per_cpu_ptr(&here_cpu, cpu);

		here->host_save = alloc_page(GFP_KERNEL | __GFP_ZERO);
		here->host = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!here->host_save || !here->host)
			goto fail;
	}
	return &svm;
fail:
	svm_exit();
	return ERR_PTR(-ENOMEM);
}

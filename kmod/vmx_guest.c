// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vCPU on Intel's virtualisation: its control structure, and the way in and
 * out. As in svm.c, what could reach further than user code may faults in the
 * guest. References are as in vmx.c.
 */

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/perf_event.h>
#include <asm/asm.h>
#include <asm/cpu_entry_area.h>
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/fsgsbase.h>
#include <asm/msr.h>
#include <asm/perf_event.h>
#include <asm/segment.h>
#include <asm/special_insns.h>
#include <asm/tlbflush.h>
#include <asm/trapnr.h>

#include "vmcs.h"

/* Access rights of segments ("Format of access rights"). */
#define CODE_KERNEL	0xa09b
#define DATA_KERNEL	0xc093
#define DATA_USER	0xc0f3
#define BUSY_TASK	0x8b
#define UNUSABLE	0x10000

/* Field of a segment register, by the distance to that of ES. */
enum { ES = 0, CS = 2, SS = 4, DS = 6, FS = 8, GS = 10, LDTR = 12, TR = 14 };

static struct vmx_vcpu *vcpu_of(struct dune_cpu *cpu)
{
	return container_of(cpu, struct vmx_vcpu, common);
}

static void set_segment(int which, u16 selector, u32 limit, u32 rights, u64 base)
{
	vmcs_write(GUEST_ES_SELECTOR + which, selector);
	vmcs_write(GUEST_ES_LIMIT + which, limit);
	vmcs_write(GUEST_ES_AR_BYTES + which, rights);
	vmcs_write(GUEST_ES_BASE + which, base);
}

/* Code and data segments of privilege level 0; level 3 comes by IRET. */
static void set_kernel(void)
{
	set_segment(CS, 0x10, 0xffffffff, CODE_KERNEL, 0);
	set_segment(SS, 0x18, 0xffffffff, DATA_KERNEL, 0);
}

/* "VM-execution control fields", "VM-exit control fields", "VM-entry control fields". */
static void fill_controls(struct vmx_vcpu *vcpu)
{
	u64 pointer = virt_to_phys(vcpu->common.vm->root) | VMX_EPTP_MT_WB |
		      VMX_EPTP_PWL_4;

	if (vmx_config.accessed_dirty)
		pointer |= VMX_EPTP_AD_ENABLE_BIT;
	vmcs_write(PIN_BASED_VM_EXEC_CONTROL, vmx_config.pin);
	vmcs_write(CPU_BASED_VM_EXEC_CONTROL, vmx_config.primary);
	vmcs_write(SECONDARY_VM_EXEC_CONTROL, vmx_config.secondary);
	vmcs_write(VM_EXIT_CONTROLS, vmx_config.exit);
	vmcs_write(VM_ENTRY_CONTROLS, vmx_config.entry);
	vmcs_write(EPT_POINTER, pointer);
	/* "VMX-preemption timer": an exit now and then, whatever becomes of interrupts. */
	if (vmx_config.pin & PIN_BASED_VMX_PREEMPTION_TIMER)
		vmcs_write(VMX_PREEMPTION_TIMER_VALUE, vmx_config.timer);
	/* A machine check is the host's; the others could repeat without end. */
	vmcs_write(EXCEPTION_BITMAP,
		   BIT(X86_TRAP_MC) | BIT(X86_TRAP_DB) | BIT(X86_TRAP_AC));
	vmcs_write(PAGE_FAULT_ERROR_CODE_MASK, 0);
	vmcs_write(PAGE_FAULT_ERROR_CODE_MATCH, 0);
	vmcs_write(CR3_TARGET_COUNT, 0);
	vmcs_write(VM_EXIT_MSR_STORE_COUNT, 0);
	vmcs_write(VM_EXIT_MSR_LOAD_COUNT, 0);
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, 0);
	vmcs_write(VM_ENTRY_INTR_INFO_FIELD, 0);
	vmcs_write(VMCS_LINK_POINTER, ~0ULL);
	if (vmx_config.secondary & SECONDARY_EXEC_ENCLS_EXITING)
		vmcs_write(ENCLS_EXITING_BITMAP, ~0ULL);
}

/* "Guest-state area": a program in 64-bit mode, whose CR0 and CR4 stay as they are. */
static void fill_guest(struct vmx_vcpu *vcpu)
{
	const struct dune_vcpu *start = &vcpu->start;
	u64 cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE |
		  X86_CR0_WP | X86_CR0_AM | X86_CR0_PG;
	u64 cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;

	if (cpu_feature_enabled(X86_FEATURE_XSAVE))
		cr4 |= X86_CR4_OSXSAVE;
	if (cpu_feature_enabled(X86_FEATURE_FSGSBASE))
		cr4 |= X86_CR4_FSGSBASE;
	set_kernel();
	set_segment(DS, 0, 0xffffffff, DATA_USER, 0);
	set_segment(ES, 0, 0xffffffff, DATA_USER, 0);
	set_segment(FS, 0, 0xffffffff, DATA_USER, 0);
	set_segment(GS, 0, 0xffffffff, DATA_USER, 0);
	set_segment(LDTR, 0, 0, UNUSABLE, 0);
	set_segment(TR, start->task_selector, 103, BUSY_TASK, start->task);
	vmcs_write(GUEST_GDTR_BASE, start->gdt);
	vmcs_write(GUEST_GDTR_LIMIT, start->gdt_limit);
	vmcs_write(GUEST_IDTR_BASE, start->idt);
	vmcs_write(GUEST_IDTR_LIMIT, start->idt_limit);

	/*
	 * The guest reads the shadows; a write that differs from them is an exit.
	 * With TS in the one of CR0, CLTS is an exit as well.
	 */
	vmcs_write(CR0_GUEST_HOST_MASK, ~0ULL);
	vmcs_write(CR0_READ_SHADOW, cr0 | X86_CR0_TS);
	vmcs_write(GUEST_CR0, (cr0 | vmx_config.cr0_ones) & vmx_config.cr0_may);
	vmcs_write(CR4_GUEST_HOST_MASK, ~0ULL);
	vmcs_write(CR4_READ_SHADOW, cr4);
	vmcs_write(GUEST_CR4, (cr4 | vmx_config.cr4_ones) & vmx_config.cr4_may);
	vmcs_write(GUEST_CR3, start->root);
	vmcs_write(GUEST_IA32_EFER, EFER_SCE | EFER_LME | EFER_LMA | EFER_NX);
	vmcs_write(GUEST_SYSENTER_CS, 0);
	vmcs_write(GUEST_SYSENTER_ESP, 0);
	vmcs_write(GUEST_SYSENTER_EIP, 0);
	vmcs_write(GUEST_IA32_DEBUGCTL, 0);
	vmcs_write(GUEST_DR7, 0x400);
	vmcs_write(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmcs_write(GUEST_INTERRUPTIBILITY_INFO, 0);
	vmcs_write(GUEST_PENDING_DBG_EXCEPTIONS, 0);
}

/* "Host-state area": what belongs to the CPU. */
static void fill_host(void)
{
	int cpu = smp_processor_id();
	struct desc_ptr table;
	u64 value;

	vmcs_write(HOST_CS_SELECTOR, __KERNEL_CS);
	vmcs_write(HOST_SS_SELECTOR, __KERNEL_DS);
	vmcs_write(HOST_DS_SELECTOR, 0);
	vmcs_write(HOST_ES_SELECTOR, 0);
	vmcs_write(HOST_FS_SELECTOR, 0);
	vmcs_write(HOST_GS_SELECTOR, 0);
	vmcs_write(HOST_TR_SELECTOR, GDT_ENTRY_TSS * 8);
	vmcs_write(HOST_TR_BASE,
		   (unsigned long)&get_cpu_entry_area(cpu)->tss.x86_tss);
	native_store_gdt(&table);
	vmcs_write(HOST_GDTR_BASE, table.address);
	store_idt(&table);
	vmcs_write(HOST_IDTR_BASE, table.address);
	rdmsrl(MSR_GS_BASE, value);
	vmcs_write(HOST_GS_BASE, value);
	rdmsrl(MSR_IA32_SYSENTER_CS, value);
	vmcs_write(HOST_IA32_SYSENTER_CS, value);
	rdmsrl(MSR_IA32_SYSENTER_ESP, value);
	vmcs_write(HOST_IA32_SYSENTER_ESP, value);
	rdmsrl(MSR_IA32_SYSENTER_EIP, value);
	vmcs_write(HOST_IA32_SYSENTER_EIP, value);
	rdmsrl(MSR_EFER, value);
	vmcs_write(HOST_IA32_EFER, value);
	vmcs_write(HOST_RIP, (unsigned long)dune_vmx_exit);
}

/* It has just become current on this CPU. */
void vmx_fill(struct vmx_vcpu *vcpu)
{
	if (!vcpu->filled) {
		fill_controls(vcpu);
		fill_guest(vcpu);
		vcpu->filled = true;
	}
	fill_host();
}

int vmx_create(struct dune_cpu *cpu, const struct dune_vcpu *start)
{
	struct vmx_vcpu *vcpu = vcpu_of(cpu);

	vcpu->vmcs = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vcpu->vmcs)
		return -ENOMEM;
	*(u32 *)vcpu->vmcs = vmx_config.revision;
	vcpu->start = *start;
	vcpu->loaded_on = -1;
	vcpu->rflags = X86_EFLAGS_FIXED;
	vcpu->dirty = true;
	return 0;
}

void vmx_destroy(struct dune_cpu *cpu)
{
	struct vmx_vcpu *vcpu = vcpu_of(cpu);

	vmx_unload(vcpu);
	free_page((unsigned long)vcpu->vmcs);
}

void vmx_set(struct dune_cpu *cpu, const struct dune_run *run)
{
	struct vmx_vcpu *vcpu = vcpu_of(cpu);
	const struct dune_regs *r = &run->regs;

	if (run->set & DUNE_SET_REGS) {
		cpu->gprs = (struct dune_gprs){
			.rax = r->rax, .rbx = r->rbx, .rcx = r->rcx,
			.rdx = r->rdx, .rsi = r->rsi, .rdi = r->rdi,
			.rbp = r->rbp, .r8 = r->r8, .r9 = r->r9,
			.r10 = r->r10, .r11 = r->r11, .r12 = r->r12,
			.r13 = r->r13, .r14 = r->r14, .r15 = r->r15,
		};
		vcpu->rsp = r->rsp;
		vcpu->rip = r->rip;
		vcpu->rflags = (r->rflags & DUNE_RFLAGS) | X86_EFLAGS_FIXED;
		vcpu->pending_debug = 0;
		vcpu->event = 0;
		vcpu->dirty = true;
	}
	if (run->set & DUNE_SET_BASES) {
		vcpu->fs_base = run->fs_base;
		vcpu->gs_base = run->gs_base;
		vcpu->dirty = true;
	}
	if (run->set & DUNE_SET_KERNEL)
		vcpu->to_kernel = true;
}

void vmx_get(struct dune_cpu *cpu, struct dune_run *run)
{
	const struct vmx_vcpu *vcpu = vcpu_of(cpu);
	const struct dune_gprs *g = &cpu->gprs;

	run->regs = (struct dune_regs){
		.rax = g->rax, .rbx = g->rbx, .rcx = g->rcx, .rdx = g->rdx,
		.rsi = g->rsi, .rdi = g->rdi, .rsp = vcpu->rsp, .rbp = g->rbp,
		.r8 = g->r8, .r9 = g->r9, .r10 = g->r10, .r11 = g->r11,
		.r12 = g->r12, .r13 = g->r13, .r14 = g->r14, .r15 = g->r15,
		.rip = vcpu->rip, .rflags = vcpu->rflags,
	};
	run->fs_base = vcpu->fs_base;
	run->gs_base = vcpu->gs_base;
	run->cr2 = vcpu->cr2;
}

struct descriptor {
	u64 what;
	u64 address;
};

/* "INVEPT - invalidate translations derived from EPT": of one pointer, or all. */
static void invalidate_nested(u64 pointer)
{
	struct descriptor of = { .what = pointer };
	u64 type = pointer ? VMX_EPT_EXTENT_CONTEXT : VMX_EPT_EXTENT_GLOBAL;

	asm goto(OR_REFUSED("invept %0, %1")
		 : : "m" (of), "r" (type) : "cc", "memory" : refused);
	return;
refused:
	pr_err_ratelimited("dune: INVEPT is refused\n");
}

/* "INVVPID - invalidate translations based on VPID": of all. */
static void invalidate_linear(void)
{
	struct descriptor of = {};
	u64 type = VMX_VPID_EXTENT_ALL_CONTEXT;

	asm goto(OR_REFUSED("invvpid %0, %1")
		 : : "m" (of), "r" (type) : "cc", "memory" : refused);
	return;
refused:
	pr_err_ratelimited("dune: INVVPID is refused\n");
}

/* "Caching translation information": what carries this VPID, and what this EPTP. */
static void flush_translations(struct vmx_vcpu *vcpu, unsigned int flush)
{
	if (flush & DUNE_NEW_ASID)
		vmcs_write(VIRTUAL_PROCESSOR_ID, vcpu->common.asid);
	if (flush & DUNE_NEW_GENERATION) {
		invalidate_linear();
		invalidate_nested(0);
	} else if (flush & DUNE_NESTED_CHANGED) {
		invalidate_nested(vmcs_read(EPT_POINTER));
	}
}

/* What has been set since the last exit. */
static void write_guest(struct vmx_vcpu *vcpu)
{
	if (vcpu->dirty) {
		vmcs_write(GUEST_RIP, vcpu->rip);
		vmcs_write(GUEST_RSP, vcpu->rsp);
		vmcs_write(GUEST_RFLAGS, vcpu->rflags);
		vmcs_write(GUEST_FS_BASE, vcpu->fs_base);
		vmcs_write(GUEST_GS_BASE, vcpu->gs_base);
		vmcs_write(GUEST_INTERRUPTIBILITY_INFO, 0);
		vmcs_write(GUEST_PENDING_DBG_EXCEPTIONS, vcpu->pending_debug);
		vcpu->dirty = false;
	}
	if (vcpu->to_kernel) {
		set_kernel();
		vcpu->to_kernel = false;
	}
	if (vcpu->event) {
		vmcs_write(VM_ENTRY_INTR_INFO_FIELD, vcpu->event);
		vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, vcpu->event_code);
		vcpu->event = 0;
	}
}

/* "Saving guest state", "Information about VM exits". */
static void read_guest(struct vmx_vcpu *vcpu)
{
	u32 vectoring;

	vcpu->reason = vmcs_read(VM_EXIT_REASON);
	if (vcpu->reason & VMX_EXIT_REASONS_FAILED_VMENTRY)
		return;
	vcpu->rip = vmcs_read(GUEST_RIP);
	vcpu->rsp = vmcs_read(GUEST_RSP);
	vcpu->rflags = vmcs_read(GUEST_RFLAGS);
	vcpu->fs_base = vmcs_read(GUEST_FS_BASE);
	vcpu->gs_base = vmcs_read(GUEST_GS_BASE);
	vcpu->interruption = 0;
	switch (vcpu->reason) {
	case EXIT_REASON_EXCEPTION_NMI:
		vcpu->interruption = vmcs_read(VM_EXIT_INTR_INFO);
		break;
	case EXIT_REASON_EPT_VIOLATION:
		vcpu->qualification = vmcs_read(EXIT_QUALIFICATION);
		vcpu->gpa = vmcs_read(GUEST_PHYSICAL_ADDRESS);
		break;
	case EXIT_REASON_HLT:
	case EXIT_REASON_CPUID:
		vcpu->length = vmcs_read(VM_EXIT_INSTRUCTION_LEN);
		break;
	}
	/*
	 * "Information for VM exits that occur during event delivery": what was
	 * cut short happens again, unless its instruction does.
	 */
	vectoring = vmcs_read(IDT_VECTORING_INFO_FIELD);
	if ((vectoring & VECTORING_INFO_VALID_MASK) &&
	    (vectoring & VECTORING_INFO_TYPE_MASK) == INTR_TYPE_HARD_EXCEPTION) {
		vcpu->event = vectoring & (VECTORING_INFO_VALID_MASK |
					   VECTORING_INFO_DELIVER_CODE_MASK |
					   VECTORING_INFO_TYPE_MASK |
					   VECTORING_INFO_VECTOR_MASK);
		vcpu->event_code = vmcs_read(IDT_VECTORING_ERROR_CODE);
	}
}

/* Registers of the kernel's that an exit does not bring back, or spoils. */
struct host {
	struct desc_ptr gdt;
	u16 ds, es, fs, gs, ldt;
	u64 fs_base;
	u64 kernel_gs_base;
	u64 debugctl;
};

/* "Loading host state": CR3 and CR4 may be others than the last time. */
static void save_host(struct host *host)
{
	savesegment(ds, host->ds);
	savesegment(es, host->es);
	savesegment(fs, host->fs);
	savesegment(gs, host->gs);
	store_ldt(host->ldt);
	native_store_gdt(&host->gdt);
	host->fs_base = x86_fsbase_read_cpu();
	rdmsrl(MSR_KERNEL_GS_BASE, host->kernel_gs_base);
	host->debugctl = get_debugctlmsr();
	vmcs_write(HOST_CR0, read_cr0());
	vmcs_write(HOST_CR3, __read_cr3());
	vmcs_write(HOST_CR4, native_read_cr4());
	vmcs_write(HOST_FS_BASE, host->fs_base);
}

static void restore_host(const struct host *host)
{
	/* Limits have become the largest; that of the IDT does not matter. */
	native_load_gdt(&host->gdt);
	invalidate_tss_limit();
	if (unlikely(host->ldt))
		asm volatile("lldt %w0" : : "r" (host->ldt));
	if (unlikely(host->ds | host->es)) {
		loadsegment(ds, host->ds);
		loadsegment(es, host->es);
	}
	if (unlikely(host->fs)) {
		loadsegment(fs, host->fs);
		x86_fsbase_write_cpu(host->fs_base);
	}
	if (unlikely(host->gs))
		load_gs_index(host->gs);
	wrmsrl(MSR_KERNEL_GS_BASE, host->kernel_gs_base);
	if (host->debugctl)
		update_debugctlmsr(host->debugctl);
}

/* "Debug store" records would be written to addresses of the guest's. */
static void switch_counters(bool to_guest)
{
	struct perf_guest_switch_msr *msrs;
	int i, count = 0;

	msrs = perf_guest_get_msrs(&count, NULL);
	for (i = 0; msrs && i < count; i++)
		if (msrs[i].host != msrs[i].guest)
			wrmsrl(msrs[i].msr,
			       to_guest ? msrs[i].guest : msrs[i].host);
}

/* The MSRs that SYSCALL uses. */
static void switch_syscall(const struct vmx_here *here, const struct dune_vcpu *guest,
			   bool to_guest)
{
	if (here->star != guest->star)
		wrmsrl(MSR_STAR, to_guest ? guest->star : here->star);
	if (here->lstar != guest->lstar)
		wrmsrl(MSR_LSTAR, to_guest ? guest->lstar : here->lstar);
	if (here->sfmask != guest->sfmask)
		wrmsrl(MSR_SYSCALL_MASK, to_guest ? guest->sfmask : here->sfmask);
}

void vmx_enter(struct dune_cpu *cpu, unsigned int flush)
{
	struct vmx_vcpu *vcpu = vcpu_of(cpu);
	struct vmx_here *here = this_cpu_ptr(&vmx_here);
	struct host host;
	int refused;

	vmx_load(vcpu);
	flush_translations(vcpu, flush);
	write_guest(vcpu);
	save_host(&host);
	switch_counters(true);
	switch_syscall(here, &vcpu->start, true);
	wrmsrl(MSR_KERNEL_GS_BASE, vcpu->kernel_gs_base);
	if (vmx_flush_l1d)
		wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
	write_cr2(vcpu->cr2);

	refused = dune_vmx_enter(&cpu->gprs, vcpu->launched);

	vcpu->cr2 = read_cr2();
	rdmsrl(MSR_KERNEL_GS_BASE, vcpu->kernel_gs_base);
	switch_syscall(here, &vcpu->start, false);
	restore_host(&host);
	switch_counters(false);
	if (unlikely(refused)) {
		/* "VM-instruction error numbers". */
		pr_err_ratelimited("dune: the processor refuses to enter a guest: error %llu\n",
				   vmcs_read(VM_INSTRUCTION_ERROR));
		vcpu->reason = EXIT_REASON_INVALID_STATE |
			       VMX_EXIT_REASONS_FAILED_VMENTRY;
		return;
	}
	read_guest(vcpu);
	if (!(vcpu->reason & VMX_EXIT_REASONS_FAILED_VMENTRY))
		vcpu->launched = true;

	/* An exit blocks further NMIs until the handler of this one returns. */
	if ((vcpu->interruption & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR &&
	    vcpu->reason == EXIT_REASON_EXCEPTION_NMI)
		asm volatile("int $2");
	if ((vcpu->interruption & (INTR_INFO_VALID_MASK | INTR_INFO_VECTOR_MASK)) ==
	    (INTR_INFO_VALID_MASK | X86_TRAP_MC) ||
	    (u16)vcpu->reason == EXIT_REASON_MCE_DURING_VMENTRY)
		dune_machine_check();
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Why a guest on Intel's virtualisation was left. References are as in vmx.c:
 * appendix C "VMX basic exit reasons", "Instructions that cause VM exits".
 */

#include <asm/cpufeature.h>
#include <asm/processor.h>
#include <asm/trapnr.h>

#include "vmcs.h"

#define SINGLE_STEP	BIT(14)	/* pending debug exceptions */
#define GETSEC		11	/* basic exit reason */

static void inject(struct vmx_vcpu *vcpu, u32 vector, bool coded)
{
	vcpu->event = vector | INTR_TYPE_HARD_EXCEPTION | INTR_INFO_VALID_MASK |
		      (coded ? INTR_INFO_DELIVER_CODE_MASK : 0);
	vcpu->event_code = 0;
}

/* Behind the instruction that was the exit. */
static void skip(struct vmx_vcpu *vcpu)
{
	vcpu->rip += vcpu->length;
	vcpu->pending_debug = 0;
	vcpu->dirty = true;
}

/* Always an exit: answered as the processor answers the process. */
static void identify(struct vmx_vcpu *vcpu)
{
	struct dune_gprs *gprs = &vcpu->common.gprs;
	u32 leaf = gprs->rax;
	u32 a = leaf, b, c = gprs->rcx, d;
	u32 subleaf = c;

	native_cpuid(&a, &b, &c, &d);
	/* There are no protection keys in the guest. */
	if (leaf == 7 && !subleaf)
		c &= ~BIT(4);
	gprs->rax = a;
	gprs->rbx = b;
	gprs->rcx = c;
	gprs->rdx = d;
	skip(vcpu);
	if (vcpu->rflags & X86_EFLAGS_TF)
		vcpu->pending_debug = SINGLE_STEP;
}

static int exception(struct vmx_vcpu *vcpu, struct dune_run *run)
{
	u32 vector = vcpu->interruption & INTR_INFO_VECTOR_MASK;
	u32 type = vcpu->interruption & INTR_INFO_INTR_TYPE_MASK;

	/* These two have been seen to where interrupts were still off. */
	if (type == INTR_TYPE_NMI_INTR || vector == X86_TRAP_MC)
		return 0;
	run->exit = DUNE_EXIT_EXCEPTION;
	run->detail = vector;
	return 1;
}

int vmx_handle(struct dune_cpu *cpu, struct dune_run *run)
{
	struct vmx_vcpu *vcpu = container_of(cpu, struct vmx_vcpu, common);
	u64 info = vcpu->qualification;

	/* "VM-entry failures during or after loading guest state". */
	if (vcpu->reason & VMX_EXIT_REASONS_FAILED_VMENTRY) {
		cpu->dead = true;
		run->exit = DUNE_EXIT_INVALID;
		return 1;
	}
	switch (vcpu->reason) {
	case EXIT_REASON_EXTERNAL_INTERRUPT:
	case EXIT_REASON_INIT_SIGNAL:
	case EXIT_REASON_SIPI_SIGNAL:
	case EXIT_REASON_PREEMPTION_TIMER:
		return 0;
	case EXIT_REASON_EXCEPTION_NMI:
		return exception(vcpu, run);
	case EXIT_REASON_EPT_VIOLATION:
		return dune_fault(cpu, run, vcpu->gpa,
				  info & EPT_VIOLATION_ACC_WRITE,
				  info & EPT_VIOLATION_ACC_INSTR);
	case EXIT_REASON_HLT:
		skip(vcpu);
		run->exit = DUNE_EXIT_HALT;
		return 1;
	case EXIT_REASON_CPUID:
		identify(vcpu);
		return 0;
	case EXIT_REASON_TRIPLE_FAULT:
		cpu->dead = true;
		run->exit = DUNE_EXIT_SHUTDOWN;
		return 1;
	case EXIT_REASON_CR_ACCESS:
	case EXIT_REASON_DR_ACCESS:
	case EXIT_REASON_RDPMC:
	case EXIT_REASON_INVD:
	case EXIT_REASON_IO_INSTRUCTION:
	case EXIT_REASON_MSR_READ:
	case EXIT_REASON_MSR_WRITE:
	case EXIT_REASON_TASK_SWITCH:
	case EXIT_REASON_WBINVD:
	case EXIT_REASON_XSETBV:
		inject(vcpu, X86_TRAP_GP, true);
		return 0;
	case EXIT_REASON_VMCALL ... EXIT_REASON_VMON:
	case GETSEC:
	case EXIT_REASON_INVEPT:
	case EXIT_REASON_INVVPID:
	case EXIT_REASON_VMFUNC:
	case EXIT_REASON_ENCLS:
	case EXIT_REASON_MONITOR_INSTRUCTION:
	case EXIT_REASON_MWAIT_INSTRUCTION:
		inject(vcpu, X86_TRAP_UD, false);
		return 0;
	default:
		run->exit = DUNE_EXIT_UNKNOWN;
		run->detail = vcpu->reason;
		return 1;
	}
}

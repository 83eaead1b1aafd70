/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the backend for Intel's virtualisation know of each other. */
#ifndef _DUNE_VMCS_H
#define _DUNE_VMCS_H

#include <linux/list.h>
#include <asm/vmx.h>

#include "internal.h"

/* What the processors can do, and what of it guests are run with. */
struct vmx_config {
	u32 revision;
	u32 pin;
	u32 primary;
	u32 secondary;
	u32 exit;
	u32 entry;
	bool accessed_dirty;
	u32 timer;
	u64 cr0_ones;
	u64 cr0_may;
	u64 cr4_ones;
	u64 cr4_may;
};

struct vmx_vcpu {
	struct dune_cpu common;
	struct dune_vcpu start;
	/* Its control structure: a page of the processor's format. */
	u64 *vmcs;
	/* The CPU that may hold parts of it, or -1; and its place in that CPU's list. */
	int loaded_on;
	struct list_head loaded;
	bool filled;
	bool launched;

	/* What is put into the control structure before the next entry, if it has changed. */
	bool dirty;
	bool to_kernel;
	u64 rip;
	u64 rsp;
	u64 rflags;
	u64 fs_base;
	u64 gs_base;
	u64 pending_debug;

	/* Event to be delivered with the next entry, in the processor's form. */
	u32 event;
	u32 event_code;

	/* Not switched by the processor. */
	u64 cr2;
	u64 kernel_gs_base;

	/* The last exit. */
	u32 reason;
	u32 interruption;
	u32 length;
	u64 qualification;
	u64 gpa;
};

/* A processor's own. */
struct vmx_here {
	u64 *region;		/* VMXON's */
	struct list_head loaded;
	struct vmx_vcpu *current_vcpu;
	/* The kernel's values. */
	u64 star;
	u64 lstar;
	u64 sfmask;
};

DECLARE_PER_CPU(struct vmx_here, vmx_here);
extern struct vmx_config vmx_config;
extern bool vmx_flush_l1d;

/* vmx.c: makes the control structure current; interrupts are off. */
void vmx_load(struct vmx_vcpu *vcpu);
void vmx_prepare(struct dune_cpu *cpu);
void vmx_unload(struct vmx_vcpu *vcpu);

/* enter.S: 0, or 1 if the processor has refused; where exits lead. */
int dune_vmx_enter(struct dune_gprs *gprs, bool launched);
void dune_vmx_exit(void);

/* vmx_guest.c */
void vmx_fill(struct vmx_vcpu *vcpu);
int vmx_create(struct dune_cpu *cpu, const struct dune_vcpu *start);
void vmx_destroy(struct dune_cpu *cpu);
void vmx_set(struct dune_cpu *cpu, const struct dune_run *run);
void vmx_get(struct dune_cpu *cpu, struct dune_run *run);
void vmx_enter(struct dune_cpu *cpu, unsigned int flush);

/* vmx_exit.c */
int vmx_handle(struct dune_cpu *cpu, struct dune_run *run);

/* For "asm goto": nothing of this is refused but by a mistake of ours. */
#define OR_REFUSED(instruction) "1: " instruction "\n\tja 3f\n"	\
				"2: jmp %l[refused]\n"		\
				"3:\n\t" _ASM_EXTABLE(1b, 2b)

static inline void vmcs_write(enum vmcs_field field, u64 value)
{
	asm goto(OR_REFUSED("vmwrite %1, %0")
		 : : "r" ((u64)field), "rm" (value) : "cc", "memory" : refused);
	return;
refused:
	pr_err_ratelimited("dune: VMWRITE of field 0x%x is refused\n", field);
}

static inline u64 vmcs_read(enum vmcs_field field)
{
	u64 value;

	asm volatile("vmread %1, %0" : "=r" (value) : "r" ((u64)field) : "cc");
	return value;
}

#endif /* _DUNE_VMCS_H */

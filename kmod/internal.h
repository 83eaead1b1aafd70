/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the module know of each other. */
#ifndef _DUNE_INTERNAL_H
#define _DUNE_INTERNAL_H

#include <linux/cpumask.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/xarray.h>
#include <asm/processor-flags.h>

#include "uapi/dune.h"

/* A guest: what an open file is. */
struct dune_vm {
	/* Never the same for two guests. */
	u64 id;
	struct mm_struct *mm;
	struct mmu_interval_notifier notifier;

	/* Guards the nested tables and the notifier's sequence. */
	spinlock_t mmu_lock;
	u64 *root;
	/* Raised when a nested entry loses something, under mmu_lock. */
	u64 flushes;
	/* CPUs that run this guest or are about to. */
	cpumask_var_t running;

	/* Guards the three below against other writers. */
	struct mutex lock;
	/* Chunk number of a guest-physical address -> that of the virtual one. */
	struct xarray chunks;
	/* The other way round. */
	struct xarray reverse;
	struct xarray vcpus;
	u32 nr_chunks;
	u32 nr_vcpus;
};

/* Order known to enter.S; RAX is the backend's. */
struct dune_gprs {
	u64 rbx;
	u64 rcx;
	u64 rdx;
	u64 rsi;
	u64 rdi;
	u64 rbp;
	u64 r8;
	u64 r9;
	u64 r10;
	u64 r11;
	u64 r12;
	u64 r13;
	u64 r14;
	u64 r15;
	u64 rax;
};

/* A vCPU; the first member of the backend's own structure. */
struct dune_cpu {
	struct dune_vm *vm;
	/* Held while it runs. */
	struct mutex lock;
	struct dune_gprs gprs;
	/* Translations of the guest are to be flushed. */
	bool flush;
	/* It can run no more. */
	bool dead;
	/* vm->flushes that it has seen. */
	u64 flushes;
	/* Where its address space identifier is valid. */
	int cpu;
	u32 asid;
	u64 asid_generation;
};

/* What is to be flushed before a guest is entered. */
#define DUNE_NEW_ASID		BIT(0)	/* dune_cpu.asid has changed */
#define DUNE_NESTED_CHANGED	BIT(1)	/* nested entries may be cached that are no more */
#define DUNE_NEW_GENERATION	BIT(2)	/* every identifier may have been used */

/* What a guest may have set in RFLAGS: what a program may, RF and AC. */
#define DUNE_RFLAGS	(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | \
			 X86_EFLAGS_ZF | X86_EFLAGS_SF | X86_EFLAGS_TF | \
			 X86_EFLAGS_IF | X86_EFLAGS_DF | X86_EFLAGS_OF | \
			 X86_EFLAGS_NT | X86_EFLAGS_RF | X86_EFLAGS_AC | \
			 X86_EFLAGS_ID)

/* A processor's kind of virtualisation. */
struct dune_backend {
	const char *name;
	u32 number;		/* DUNE_BACKEND_* */
	size_t cpu_size;	/* of its structure of a vCPU */
	u32 asids;		/* identifiers 1 to asids - 1 exist */

	/*
	 * Nested tables. In all formats an entry's bit 0 means that it is
	 * present, and bits 12 to 51 are the address.
	 */
	int levels;
	u64 table;		/* bits of an entry that leads to a table */
	u64 page;		/* bits of one that leads to a page */
	u64 write;		/* more of them if it may be written, */
	u64 exec;		/* if it may be executed, */
	u64 no_exec;		/* and if it may not */

	void (*exit)(void);
	/* These two on the CPU itself. */
	int (*enable)(void);
	void (*disable)(void);
	int (*create)(struct dune_cpu *cpu, const struct dune_vcpu *start);
	void (*destroy)(struct dune_cpu *cpu);
	void (*set)(struct dune_cpu *cpu, const struct dune_run *run);
	void (*get)(struct dune_cpu *cpu, struct dune_run *run);
	/* Optional. Preemption is off, interrupts are on. */
	void (*prepare)(struct dune_cpu *cpu);
	/* Runs until the next exit; interrupts are off. "flush": DUNE_* above. */
	void (*enter)(struct dune_cpu *cpu, unsigned int flush);
	/* What dune_run() returns, for the last exit. */
	int (*handle)(struct dune_cpu *cpu, struct dune_run *run);
};

/* The one of this machine. */
extern const struct dune_backend *dune_backend;

/* svm.c, vmx.c: the backend, or an error. */
const struct dune_backend *dune_svm_init(void);
const struct dune_backend *dune_vmx_init(void);

/* mmu.c */
int dune_mmu_init(struct dune_vm *vm);
void dune_mmu_destroy(struct dune_vm *vm);
int dune_mmu_fault(struct dune_vm *vm, u64 gpa, bool write, bool exec);

/* guest.c */
int dune_enable_cpu(void);
void dune_disable_cpu(void);
/* Runs until something happens; 0: go on, 1: run->exit says why not. */
int dune_run(struct dune_cpu *cpu, struct dune_run *run);
/* A nested fault: as dune_run(). */
int dune_fault(struct dune_cpu *cpu, struct dune_run *run, u64 gpa, bool write,
	       bool exec);
void dune_machine_check(void);

/* hardware.c */
int dune_hardware_init(void);
void dune_hardware_exit(void);
int dune_hardware_get(void);
void dune_hardware_put(void);

static inline bool dune_canonical(u64 address)
{
	return (u64)((s64)(address << 16) >> 16) == address;
}

#endif /* _DUNE_INTERNAL_H */

/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the module know of each other. */
#ifndef _DUNE_H
#define _DUNE_H

#include <linux/cpumask.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/xarray.h>

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
	int levels;
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

struct vmcb;

/* Order known to enter.S. */
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
};

struct dune_cpu {
	struct dune_vm *vm;
	/* Held while it runs. */
	struct mutex lock;
	struct vmcb *vmcb;
	struct dune_gprs gprs;
	/* Translations of the guest are to be flushed. */
	bool flush;
	/* It can run no more. */
	bool dead;
	/* vm->flushes that it has seen. */
	u64 flushes;
	/* Where its address space identifier is valid. */
	int cpu;
	u64 asid_generation;
};

/* mmu.c */
int dune_mmu_init(struct dune_vm *vm);
void dune_mmu_destroy(struct dune_vm *vm);
int dune_mmu_fault(struct dune_vm *vm, u64 gpa, bool write, bool exec);

/* svm.c */
int svm_check(void);
int svm_init(void);
void svm_exit(void);
int svm_enable_cpu(void);
void svm_disable_cpu(void);
int svm_vcpu_create(struct dune_cpu *cpu, const struct dune_vcpu *start);
void svm_vcpu_destroy(struct dune_cpu *cpu);
void svm_set(struct dune_cpu *cpu, const struct dune_run *run);
void svm_get(struct dune_cpu *cpu, struct dune_run *run);
/* Runs until something happens; 0: go on, 1: run->exit says why not, else an error. */
int svm_run(struct dune_cpu *cpu, struct dune_run *run);

/* hardware.c */
int dune_hardware_init(void);
void dune_hardware_exit(void);
int dune_hardware_get(void);
void dune_hardware_put(void);

static inline bool dune_canonical(u64 address)
{
	return (u64)((s64)(address << 16) >> 16) == address;
}

#endif /* _DUNE_H */

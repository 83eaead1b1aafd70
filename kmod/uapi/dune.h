/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The interface of /dev/dune.
 *
 * An open file is one guest, bound to the address space of the process that
 * opened it: in any other (after exec, in a forked child) every request but
 * DUNE_GET_INFO fails with EIO. The guest reaches memory only as far as the
 * process may itself. Fields named "reserved" must be zero.
 */
#ifndef _UAPI_DUNE_H
#define _UAPI_DUNE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Raised when a request or a structure changes incompatibly. */
#define DUNE_ABI_VERSION	1

/* Guest-physical memory is given in chunks of this size and alignment. */
#define DUNE_CHUNK_SIZE		0x10000000ULL
/* Most chunks and most vCPUs of a guest. */
#define DUNE_MAX_CHUNKS		4096
#define DUNE_MAX_VCPUS		1024

#define DUNE_BACKEND_SVM	1
#define DUNE_BACKEND_VMX	2

struct dune_info {
	__u32 version;		/* DUNE_ABI_VERSION */
	__u32 backend;		/* DUNE_BACKEND_* */
	__u32 address_bits;	/* bits of a guest-physical address */
	__u32 max_vcpus;
	__u64 max_chunks;
	__u64 chunk_size;
	__u64 reserved[4];
};

/*
 * Backs guest-physical addresses with the process's virtual ones. A chunk of
 * either kind is used once (EEXIST), and stays until the file is closed.
 * Nothing has to be mapped there, now or later.
 */
struct dune_chunk {
	__u64 gpa;
	__u64 address;
	__u64 reserved[2];
};

/* The system registers of a new vCPU, which starts at privilege level 0. */
struct dune_vcpu {
	__u32 id;		/* out: its number */
	__u32 reserved0;
	__u64 root;		/* guest-physical address of the root table */
	__u64 gdt;
	__u64 idt;
	__u64 task;		/* address of the task state (104 bytes) */
	__u64 star;
	__u64 lstar;
	__u64 sfmask;
	__u16 gdt_limit;
	__u16 idt_limit;
	__u16 task_selector;
	__u16 reserved1;
	__u64 reserved[4];
};

struct dune_regs {
	__u64 rax;
	__u64 rbx;
	__u64 rcx;
	__u64 rdx;
	__u64 rsi;
	__u64 rdi;
	__u64 rsp;
	__u64 rbp;
	__u64 r8;
	__u64 r9;
	__u64 r10;
	__u64 r11;
	__u64 r12;
	__u64 r13;
	__u64 r14;
	__u64 r15;
	__u64 rip;
	__u64 rflags;
};

/* dune_run.set: what is set before the guest runs. */
#define DUNE_SET_REGS		0x01	/* regs; drops a pending event */
#define DUNE_SET_BASES		0x02	/* fs_base, gs_base */
#define DUNE_SET_KERNEL		0x04	/* privilege level 0 */
#define DUNE_SET_FLUSH		0x08	/* flush all translations */
#define DUNE_SET_BLOCKED	0x10	/* blocked */
#define DUNE_SET_ALL		0x1f

/* dune_run.exit: why it came back. */
#define DUNE_EXIT_HALT		1	/* HLT; rip is behind it */
#define DUNE_EXIT_INTERRUPTED	2	/* a signal, or work for the kernel */
#define DUNE_EXIT_REFUSED	3	/* the process may not; detail: errno, address: gpa */
#define DUNE_EXIT_EXCEPTION	4	/* detail: vector 1 or 17, which a guest never gets */
#define DUNE_EXIT_SHUTDOWN	5	/* triple fault: the vCPU runs no more */
#define DUNE_EXIT_INVALID	6	/* state that the processor refuses: runs no more */
#define DUNE_EXIT_UNKNOWN	7	/* detail: the processor's exit code */

/*
 * Runs a vCPU in the calling thread, whose vector registers, as they are, are
 * the guest's. "blocked" are signals that do not end the run, in the form of
 * rt_sigprocmask; those blocked before do then only if they are in the set.
 * EBUSY: another thread runs the vCPU.
 */
struct dune_run {
	__u32 vcpu;		/* in */
	__u32 set;		/* in: DUNE_SET_* */
	__u32 exit;		/* out: DUNE_EXIT_* */
	__u32 detail;		/* out */
	__u64 address;		/* out */
	__u64 blocked;		/* in */
	struct dune_regs regs;	/* in and out */
	__u64 fs_base;		/* in and out */
	__u64 gs_base;		/* in and out */
	__u64 cr2;		/* out */
	__u64 reserved[4];
};

#define DUNE_IOCTL		0xd7
#define DUNE_GET_INFO		_IOR(DUNE_IOCTL, 0, struct dune_info)
#define DUNE_ADD_CHUNK		_IOW(DUNE_IOCTL, 1, struct dune_chunk)
#define DUNE_CREATE_VCPU	_IOWR(DUNE_IOCTL, 2, struct dune_vcpu)
#define DUNE_RUN		_IOWR(DUNE_IOCTL, 3, struct dune_run)

#endif /* _UAPI_DUNE_H */

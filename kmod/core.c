// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/dune: one guest for each open file. See uapi/dune.h.
 */

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>

#include "internal.h"

const struct dune_backend *dune_backend;
static atomic64_t next_id = ATOMIC64_INIT(1);

static int dune_open(struct inode *inode, struct file *file)
{
	struct dune_vm *vm;
	int ret;

	if (!current->mm)
		return -EINVAL;
	ret = dune_hardware_get();
	if (ret)
		return ret;
	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm) {
		ret = -ENOMEM;
		goto no_vm;
	}
	vm->id = atomic64_inc_return(&next_id);
	vm->mm = current->mm;
	spin_lock_init(&vm->mmu_lock);
	mutex_init(&vm->lock);
	xa_init_flags(&vm->chunks, XA_FLAGS_ACCOUNT);
	xa_init_flags(&vm->reverse, XA_FLAGS_ACCOUNT);
	xa_init_flags(&vm->vcpus, XA_FLAGS_ACCOUNT);
	ret = dune_mmu_init(vm);
	if (ret)
		goto no_mmu;
	mmgrab(vm->mm);
	file->private_data = vm;
	return 0;

no_mmu:
	kfree(vm);
no_vm:
	dune_hardware_put();
	return ret;
}

static void destroy_vcpu(struct dune_cpu *cpu)
{
	dune_backend->destroy(cpu);
	mutex_destroy(&cpu->lock);
	kfree(cpu);
}

/* Every request holds the file, so nothing runs any more. */
static int dune_release(struct inode *inode, struct file *file)
{
	struct dune_vm *vm = file->private_data;
	struct dune_cpu *cpu;
	unsigned long id;

	xa_for_each(&vm->vcpus, id, cpu)
		destroy_vcpu(cpu);
	dune_mmu_destroy(vm);
	xa_destroy(&vm->vcpus);
	xa_destroy(&vm->chunks);
	xa_destroy(&vm->reverse);
	mmdrop(vm->mm);
	mutex_destroy(&vm->lock);
	kfree(vm);
	dune_hardware_put();
	return 0;
}

static long get_info(struct dune_info __user *user)
{
	struct dune_info info = {
		.version = DUNE_ABI_VERSION,
		.backend = dune_backend->number,
		.address_bits = min_t(u32, boot_cpu_data.x86_phys_bits, 47),
		.max_vcpus = DUNE_MAX_VCPUS,
		.max_chunks = DUNE_MAX_CHUNKS,
		.chunk_size = DUNE_CHUNK_SIZE,
	};

	return copy_to_user(user, &info, sizeof(info)) ? -EFAULT : 0;
}

static long add_chunk(struct dune_vm *vm, struct dune_chunk __user *user)
{
	struct dune_chunk chunk;
	unsigned long from, to;
	int ret;

	if (copy_from_user(&chunk, user, sizeof(chunk)))
		return -EFAULT;
	if (memchr_inv(chunk.reserved, 0, sizeof(chunk.reserved)) ||
	    (chunk.gpa | chunk.address) & (DUNE_CHUNK_SIZE - 1) ||
	    chunk.gpa >> 47 || chunk.address >= TASK_SIZE_MAX)
		return -EINVAL;
	from = chunk.gpa / DUNE_CHUNK_SIZE;
	to = chunk.address / DUNE_CHUNK_SIZE;

	mutex_lock(&vm->lock);
	if (vm->nr_chunks == DUNE_MAX_CHUNKS) {
		ret = -ENOSPC;
		goto out;
	}
	/* A fault that finds the one must find the other when it is undone. */
	ret = xa_load(&vm->chunks, from) ? -EEXIST :
	      xa_insert(&vm->reverse, to, xa_mk_value(from), GFP_KERNEL_ACCOUNT);
	if (ret) {
		/* xa_insert says EBUSY for what is there. */
		if (ret == -EBUSY)
			ret = -EEXIST;
		goto out;
	}
	ret = xa_insert(&vm->chunks, from, xa_mk_value(to), GFP_KERNEL_ACCOUNT);
	if (ret)
		xa_erase(&vm->reverse, to);
	else
		vm->nr_chunks++;
out:
	mutex_unlock(&vm->lock);
	return ret;
}

static long create_vcpu(struct dune_vm *vm, struct dune_vcpu __user *user)
{
	struct dune_vcpu start;
	struct dune_cpu *cpu;
	int ret;

	if (copy_from_user(&start, user, sizeof(start)))
		return -EFAULT;
	if (start.id || start.reserved0 || start.reserved1 ||
	    memchr_inv(start.reserved, 0, sizeof(start.reserved)) ||
	    start.root & 0xfff || start.root >> 47 ||
	    start.gdt >= TASK_SIZE_MAX || start.idt >= TASK_SIZE_MAX ||
	    start.task >= TASK_SIZE_MAX || start.lstar >= TASK_SIZE_MAX ||
	    start.star & 0xffffffff || start.sfmask >> 32)
		return -EINVAL;

	cpu = kzalloc(dune_backend->cpu_size, GFP_KERNEL_ACCOUNT);
	if (!cpu)
		return -ENOMEM;
	cpu->vm = vm;
	cpu->cpu = -1;
	mutex_init(&cpu->lock);
	ret = dune_backend->create(cpu, &start);
	if (ret) {
		mutex_destroy(&cpu->lock);
		kfree(cpu);
		return ret;
	}

	mutex_lock(&vm->lock);
	start.id = vm->nr_vcpus;
	if (vm->nr_vcpus == DUNE_MAX_VCPUS)
		ret = -ENOSPC;
	else if (copy_to_user(user, &start, sizeof(start)))
		ret = -EFAULT;
	else
		ret = xa_insert(&vm->vcpus, start.id, cpu, GFP_KERNEL_ACCOUNT);
	if (!ret)
		vm->nr_vcpus++;
	mutex_unlock(&vm->lock);
	if (ret)
		destroy_vcpu(cpu);
	return ret;
}

/* Work that is done on the way to user space waits. */
static bool must_leave(void)
{
	return signal_pending(current) ||
	       test_thread_flag(TIF_NOTIFY_RESUME);
}

static int run_guest(struct dune_cpu *cpu, struct dune_run *run)
{
	int ret;

	do {
		if (must_leave()) {
			run->exit = DUNE_EXIT_INTERRUPTED;
			return 0;
		}
		cond_resched();
		ret = dune_run(cpu, run);
	} while (!ret);
	return ret < 0 ? ret : 0;
}

/* As sigprocmask for the time of the run: a signal that ends it stays queued. */
static void block_signals(u64 blocked)
{
	sigset_t set;

	set.sig[0] = blocked;
	sigdelsetmask(&set, sigmask(SIGKILL) | sigmask(SIGSTOP));
	sigprocmask(SIG_SETMASK, &set, &current->real_blocked);
}

static void unblock_signals(void)
{
	sigprocmask(SIG_SETMASK, &current->real_blocked, NULL);
	sigemptyset(&current->real_blocked);
}

static long run(struct dune_vm *vm, struct dune_run __user *user)
{
	struct dune_run run;
	struct dune_cpu *cpu;
	long ret;

	if (copy_from_user(&run, user, sizeof(run)))
		return -EFAULT;
	if (run.set & ~DUNE_SET_ALL ||
	    memchr_inv(run.reserved, 0, sizeof(run.reserved)))
		return -EINVAL;
	if (run.set & DUNE_SET_BASES &&
	    (!dune_canonical(run.fs_base) || !dune_canonical(run.gs_base)))
		return -EINVAL;
	cpu = xa_load(&vm->vcpus, run.vcpu);
	if (!cpu)
		return -ENOENT;
	if (!mutex_trylock(&cpu->lock))
		return -EBUSY;
	if (cpu->dead) {
		ret = -EIO;
		goto out;
	}

	dune_backend->set(cpu, &run);
	if (run.set & DUNE_SET_FLUSH)
		cpu->flush = true;
	run.exit = 0;
	run.detail = 0;
	run.address = 0;
	if (run.set & DUNE_SET_BLOCKED)
		block_signals(run.blocked);
	ret = run_guest(cpu, &run);
	if (run.set & DUNE_SET_BLOCKED)
		unblock_signals();
	dune_backend->get(cpu, &run);
	run.set = 0;
	if (copy_to_user(user, &run, sizeof(run)))
		ret = -EFAULT;
out:
	mutex_unlock(&cpu->lock);
	return ret;
}

static long dune_ioctl(struct file *file, unsigned int request,
		       unsigned long arg)
{
	struct dune_vm *vm = file->private_data;
	void __user *user = (void __user *)arg;

	if (request == DUNE_GET_INFO)
		return get_info(user);
	if (current->mm != vm->mm)
		return -EIO;
	switch (request) {
	case DUNE_ADD_CHUNK:
		return add_chunk(vm, user);
	case DUNE_CREATE_VCPU:
		return create_vcpu(vm, user);
	case DUNE_RUN:
		return run(vm, user);
	default:
		return -ENOTTY;
	}
}

/* No compat_ioctl: 32-bit processes have no use for it. */
static const struct file_operations dune_fops = {
	.owner = THIS_MODULE,
	.open = dune_open,
	.release = dune_release,
	.unlocked_ioctl = dune_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice dune_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dune",
	.fops = &dune_fops,
	/* The device's mode is the policy. */
	.mode = 0600,
};

static const struct dune_backend *find_backend(void)
{
#ifdef X86_FEATURE_FRED
	if (cpu_feature_enabled(X86_FEATURE_FRED)) {
		pr_err("dune: FRED is on, which is not supported\n");
		return ERR_PTR(-ENODEV);
	}
#endif
	switch (boot_cpu_data.x86_vendor) {
	case X86_VENDOR_AMD:
	case X86_VENDOR_HYGON:
		return dune_svm_init();
	case X86_VENDOR_INTEL:
		return dune_vmx_init();
	default:
		pr_err("dune: neither AMD's virtualisation (SVM) nor Intel's (VMX)\n");
		return ERR_PTR(-ENODEV);
	}
}

static int __init dune_init(void)
{
	int ret;

	dune_backend = find_backend();
	if (IS_ERR(dune_backend))
		return PTR_ERR(dune_backend);
	ret = dune_hardware_init();
	if (ret)
		goto no_hardware;
	ret = misc_register(&dune_device);
	if (ret)
		goto no_device;
	pr_info("dune: /dev/dune, interface %d, %s\n", DUNE_ABI_VERSION,
		dune_backend->name);
	return 0;

no_device:
	dune_hardware_exit();
no_hardware:
	dune_backend->exit();
	return ret;
}

static void __exit dune_exit(void)
{
	misc_deregister(&dune_device);
	dune_hardware_exit();
	dune_backend->exit();
}

module_init(dune_init);
module_exit(dune_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Guest mode for processes, in their own address space");
MODULE_VERSION("0.1.0");

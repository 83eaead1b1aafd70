// SPDX-License-Identifier: GPL-2.0-only
/*
 * Intel's virtualisation: what the processors can do, turning it on and off, and
 * which of them holds which control structure. References are to the Intel 64
 * and IA-32 Architectures Software Developer's Manual, volume 3, by the titles
 * of its sections, which are the same in all editions.
 */

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/sched/smt.h>
#include <linux/smp.h>
#include <asm/asm.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/perf_event.h>
#include <asm/processor.h>
#include <asm/tlbflush.h>
#include <asm/tsc.h>

#include "vmcs.h"

#define TRUE_CONTROLS		BIT_ULL(55)	/* IA32_VMX_BASIC */
#define MEMORY_TYPE(basic)	((basic) >> 50 & 15)
#define WRITE_BACK		6
#define LONGEST_RUN		10	/* ms */

/*
 * Nested entries ("EPT translation mechanism"): write-back whatever the guest
 * says, so it cannot turn caches off.
 */
#define READABLE	VMX_EPT_READABLE_MASK
#define WRITABLE	VMX_EPT_WRITABLE_MASK
#define EXECUTABLE	VMX_EPT_EXECUTABLE_MASK
#define CACHED		((u64)WRITE_BACK << VMX_EPT_MT_EPTE_SHIFT | VMX_EPT_IPAT_BIT)
#define ACCESSED	VMX_EPT_ACCESS_BIT
#define DIRTY		VMX_EPT_DIRTY_BIT

DEFINE_PER_CPU(struct vmx_here, vmx_here);
struct vmx_config vmx_config;
bool vmx_flush_l1d;

/* "Discovering support for VMX", "Enabling and entering VMX operation". */
static int check_firmware(void)
{
	u64 control;

	if (!(cpuid_ecx(1) & BIT(5))) {
		pr_err("dune: the processor has no VMX\n");
		return -ENODEV;
	}
	rdmsrl(MSR_IA32_FEAT_CTL, control);
	if (!(control & FEAT_CTL_LOCKED)) {
		pr_err("dune: IA32_FEATURE_CONTROL is not locked: the kernel has not set VMX up\n");
		return -EPERM;
	}
	if (!(control & FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX)) {
		pr_err("dune: the firmware has turned VMX off (IA32_FEATURE_CONTROL 0x%llx)\n",
		       control);
		return -EPERM;
	}
	return 0;
}

/* Appendix A "VMX capability reporting facility": low half must be 1, high half may. */
static int settings(const char *name, u32 msr, u32 needed, u32 wanted, u32 *out)
{
	u64 allowed;

	rdmsrl(msr, allowed);
	*out = ((needed | wanted) & (u32)(allowed >> 32)) | (u32)allowed;
	if (~*out & needed) {
		pr_err("dune: the processor lacks %s controls 0x%x\n", name,
		       ~*out & needed);
		return -ENODEV;
	}
	return 0;
}

static int read_config(struct vmx_config *config)
{
	u64 basic, nested, misc;
	int ret;

	memset(config, 0, sizeof(*config));
	rdmsrl(MSR_IA32_VMX_BASIC, basic);
	if (!(basic & TRUE_CONTROLS) || MEMORY_TYPE(basic) != WRITE_BACK) {
		pr_err("dune: VMX of too old a kind (IA32_VMX_BASIC 0x%llx)\n", basic);
		return -ENODEV;
	}
	config->revision = vmx_basic_vmcs_revision_id(basic);

	/* Interrupts are not acknowledged by exits: the kernel takes them. */
	ret = settings("pin-based", MSR_IA32_VMX_TRUE_PINBASED_CTLS,
		       PIN_BASED_EXT_INTR_MASK | PIN_BASED_NMI_EXITING,
		       PIN_BASED_VMX_PREEMPTION_TIMER, &config->pin);
	/* Without bitmaps, every port and every MSR is intercepted. */
	ret = ret ?: settings("primary", MSR_IA32_VMX_TRUE_PROCBASED_CTLS,
			      CPU_BASED_HLT_EXITING | CPU_BASED_MWAIT_EXITING |
			      CPU_BASED_RDPMC_EXITING |
			      CPU_BASED_CR8_LOAD_EXITING |
			      CPU_BASED_CR8_STORE_EXITING |
			      CPU_BASED_MOV_DR_EXITING |
			      CPU_BASED_UNCOND_IO_EXITING |
			      CPU_BASED_MONITOR_EXITING |
			      CPU_BASED_ACTIVATE_SECONDARY_CONTROLS, 0,
			      &config->primary);
	/* What is not enabled here is an invalid instruction in the guest. */
	ret = ret ?: settings("secondary", MSR_IA32_VMX_PROCBASED_CTLS2,
			      SECONDARY_EXEC_ENABLE_EPT |
			      SECONDARY_EXEC_ENABLE_VPID |
			      SECONDARY_EXEC_ENABLE_RDTSCP |
			      SECONDARY_EXEC_WBINVD_EXITING,
			      SECONDARY_EXEC_ENABLE_INVPCID |
			      SECONDARY_EXEC_ENABLE_USR_WAIT_PAUSE |
			      SECONDARY_EXEC_ENCLS_EXITING,
			      &config->secondary);
	ret = ret ?: settings("exit", MSR_IA32_VMX_TRUE_EXIT_CTLS,
			      VM_EXIT_HOST_ADDR_SPACE_SIZE |
			      VM_EXIT_LOAD_IA32_EFER, 0, &config->exit);
	ret = ret ?: settings("entry", MSR_IA32_VMX_TRUE_ENTRY_CTLS,
			      VM_ENTRY_LOAD_DEBUG_CONTROLS |
			      VM_ENTRY_IA32E_MODE | VM_ENTRY_LOAD_IA32_EFER, 0,
			      &config->entry);
	if (ret)
		return ret;
	if (config->primary & (CPU_BASED_CR3_LOAD_EXITING |
			       CPU_BASED_CR3_STORE_EXITING |
			       CPU_BASED_INVLPG_EXITING)) {
		pr_err("dune: the processor intercepts CR3 or INVLPG always\n");
		return -ENODEV;
	}

	rdmsrl(MSR_IA32_VMX_EPT_VPID_CAP, nested);
	if (~nested & (VMX_EPT_PAGE_WALK_4_BIT | VMX_EPTP_WB_BIT |
		       VMX_EPT_INVEPT_BIT | VMX_EPT_EXTENT_CONTEXT_BIT |
		       VMX_EPT_EXTENT_GLOBAL_BIT | VMX_VPID_INVVPID_BIT << 32 |
		       VMX_VPID_EXTENT_GLOBAL_CONTEXT_BIT << 32)) {
		pr_err("dune: nested paging of too old a kind (IA32_VMX_EPT_VPID_CAP 0x%llx)\n",
		       nested);
		return -ENODEV;
	}
	config->accessed_dirty = nested & VMX_EPT_AD_BIT;

	rdmsrl(MSR_IA32_VMX_MISC, misc);
	config->timer = (u64)tsc_khz * LONGEST_RUN >> vmx_misc_preemption_timer_rate(misc);

	rdmsrl(MSR_IA32_VMX_CR0_FIXED0, config->cr0_ones);
	rdmsrl(MSR_IA32_VMX_CR0_FIXED1, config->cr0_may);
	rdmsrl(MSR_IA32_VMX_CR4_FIXED0, config->cr4_ones);
	rdmsrl(MSR_IA32_VMX_CR4_FIXED1, config->cr4_may);
	return 0;
}

/*
 * A guest has page tables of its own, so on processors with the fault L1TF it
 * can read what is in the first-level cache, by physical address.
 */
static int check_l1tf(void)
{
	vmx_flush_l1d = boot_cpu_has_bug(X86_BUG_L1TF) &&
			l1tf_mitigation != L1TF_MITIGATION_OFF;
	if (!vmx_flush_l1d)
		return 0;
	if (!boot_cpu_has(X86_FEATURE_FLUSH_L1D)) {
		pr_err("dune: the processor has the fault L1TF, and microcode that cannot flush its cache (l1tf=off accepts that)\n");
		return -ENODEV;
	}
	if (sched_smt_active())
		pr_warn("dune: the processor has the fault L1TF and threads share its cache: guests may read it\n");
	return 0;
}

/* "VMXON - enter VMX operation". */
static int start_operation(u64 region)
{
	asm goto(OR_REFUSED("vmxon %0") : : "m" (region) : "cc", "memory" : refused);
	return 0;
refused:
	return -EBUSY;
}

static int vmx_enable(void)
{
	struct vmx_here *here = this_cpu_ptr(&vmx_here);
	struct vmx_config config;
	int cpu = smp_processor_id();

	if (check_firmware() || read_config(&config))
		return -EIO;
	if (memcmp(&config, &vmx_config, sizeof(config))) {
		pr_err("dune: CPU %d's VMX is not like that of the others\n", cpu);
		return -EIO;
	}
	if ((cr4_read_shadow() | native_read_cr4()) & X86_CR4_VMXE) {
		pr_warn_ratelimited("dune: CPU %d's VMX is in use by another hypervisor (kvm_intel?)\n",
				    cpu);
		return -EBUSY;
	}
	intel_pt_handle_vmx(1);
	cr4_set_bits(X86_CR4_VMXE);
	*(u32 *)here->region = vmx_config.revision;
	if (start_operation(virt_to_phys(here->region))) {
		cr4_clear_bits(X86_CR4_VMXE);
		intel_pt_handle_vmx(0);
		pr_warn_ratelimited("dune: CPU %d refuses VMXON: another hypervisor?\n",
				    cpu);
		return -EBUSY;
	}
	INIT_LIST_HEAD(&here->loaded);
	here->current_vcpu = NULL;
	rdmsrl(MSR_STAR, here->star);
	rdmsrl(MSR_LSTAR, here->lstar);
	rdmsrl(MSR_SYSCALL_MASK, here->sfmask);
	return 0;
}

static void clear(struct vmx_vcpu *vcpu)
{
	u64 address = virt_to_phys(vcpu->vmcs);

	asm goto(OR_REFUSED("vmclear %0") : : "m" (address) : "cc", "memory" : refused);
	return;
refused:
	pr_err_ratelimited("dune: VMCLEAR is refused\n");
}

static void make_current(struct vmx_vcpu *vcpu)
{
	u64 address = virt_to_phys(vcpu->vmcs);

	asm goto(OR_REFUSED("vmptrld %0") : : "m" (address) : "cc", "memory" : refused);
	return;
refused:
	pr_err_ratelimited("dune: VMPTRLD is refused\n");
}

/*
 * "Software use of virtual-machine control structures": one that is active on a
 * CPU is cleared there before another may use it or its memory is given back.
 * On that CPU, interrupts are off.
 */
static void unload(void *data)
{
	struct vmx_vcpu *vcpu = data;
	struct vmx_here *here = this_cpu_ptr(&vmx_here);

	if (vcpu->loaded_on != smp_processor_id())
		return;
	clear(vcpu);
	if (here->current_vcpu == vcpu)
		here->current_vcpu = NULL;
	list_del(&vcpu->loaded);
	WRITE_ONCE(vcpu->loaded_on, -1);
}

/* If that CPU goes, or its virtualisation does, vmx_disable() has done it. */
void vmx_unload(struct vmx_vcpu *vcpu)
{
	int cpu = READ_ONCE(vcpu->loaded_on);

	if (cpu >= 0)
		smp_call_function_single(cpu, unload, vcpu, 1);
}

void vmx_prepare(struct dune_cpu *cpu)
{
	struct vmx_vcpu *vcpu = container_of(cpu, struct vmx_vcpu, common);

	if (READ_ONCE(vcpu->loaded_on) != smp_processor_id())
		vmx_unload(vcpu);
}

void vmx_load(struct vmx_vcpu *vcpu)
{
	struct vmx_here *here = this_cpu_ptr(&vmx_here);
	bool here_before = vcpu->loaded_on == smp_processor_id();

	if (!here_before) {
		clear(vcpu);
		vcpu->launched = false;
		list_add(&vcpu->loaded, &here->loaded);
		WRITE_ONCE(vcpu->loaded_on, smp_processor_id());
	}
	if (here->current_vcpu != vcpu) {
		make_current(vcpu);
		here->current_vcpu = vcpu;
	}
	if (!here_before)
		vmx_fill(vcpu);
}

static void vmx_disable(void)
{
	struct vmx_here *here = this_cpu_ptr(&vmx_here);
	struct vmx_vcpu *vcpu, *next;

	list_for_each_entry_safe(vcpu, next, &here->loaded, loaded)
		unload(vcpu);
	asm volatile("vmxoff" : : : "cc", "memory");
	cr4_clear_bits(X86_CR4_VMXE);
	intel_pt_handle_vmx(0);
}

static void vmx_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		free_page((unsigned long)per_cpu(vmx_here, cpu).region);
}

static struct dune_backend vmx = {
	.name = "Intel VMX",
	.number = DUNE_BACKEND_VMX,
	.cpu_size = sizeof(struct vmx_vcpu),
	.asids = VMX_NR_VPIDS,
	.levels = 4,
	.table = READABLE | WRITABLE | EXECUTABLE | ACCESSED,
	.page = READABLE | CACHED | ACCESSED,
	.write = WRITABLE | DIRTY,
	.exec = EXECUTABLE,
	.exit = vmx_exit,
	.enable = vmx_enable,
	.disable = vmx_disable,
	.create = vmx_create,
	.destroy = vmx_destroy,
	.set = vmx_set,
	.get = vmx_get,
	.prepare = vmx_prepare,
	.enter = vmx_enter,
	.handle = vmx_handle,
};

const struct dune_backend *dune_vmx_init(void)
{
	int ret, cpu;

	ret = check_firmware() ?: read_config(&vmx_config) ?: check_l1tf();
	if (ret)
		return ERR_PTR(ret);
	for_each_possible_cpu(cpu) {
		u64 *region = (u64 *)get_zeroed_page(GFP_KERNEL);

		if (!region) {
			vmx_exit();
			return ERR_PTR(-ENOMEM);
		}
		per_cpu(vmx_here, cpu).region = region;
	}
	return &vmx;
}

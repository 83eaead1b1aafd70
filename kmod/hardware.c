// SPDX-License-Identifier: GPL-2.0-only
/*
 * Turns the processors' virtualisation on for as long as a guest exists: on
 * those that come later too, and off for suspend, reboot and unplugged ones.
 */

#include <linux/cpuhotplug.h>
#include <linux/cpu.h>
#include <linux/mutex.h>
#include <linux/reboot.h>
#include <linux/smp.h>
#include <linux/syscore_ops.h>

#include "internal.h"

static DEFINE_MUTEX(users_lock);
static int users;
static int hotplug_state;
/* No guest any more: the machine goes down. */
static bool rebooting;

static int bring_up(unsigned int cpu)
{
	int ret;

	if (READ_ONCE(rebooting))
		return -ESHUTDOWN;
	/* Preemption is not off here, but the thread stays on its CPU. */
	preempt_disable();
	ret = dune_enable_cpu();
	preempt_enable();
	return ret;
}

static int take_down(unsigned int cpu)
{
	preempt_disable();
	dune_disable_cpu();
	preempt_enable();
	return 0;
}

int dune_hardware_get(void)
{
	int ret = 0;

	mutex_lock(&users_lock);
	if (rebooting) {
		ret = -ESHUTDOWN;
	} else if (!users) {
		ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "dune:online",
					bring_up, take_down);
		if (ret >= 0) {
			hotplug_state = ret;
			ret = 0;
		}
	}
	if (!ret)
		users++;
	mutex_unlock(&users_lock);
	return ret;
}

void dune_hardware_put(void)
{
	mutex_lock(&users_lock);
	if (!--users)
		cpuhp_remove_state(hotplug_state);
	mutex_unlock(&users_lock);
}

/* Newer kernels hand some data over, and so do fixes of older ones. */
#ifdef DUNE_SYSCORE_DATA
#define SYSCORE_DATA	void *data
#else
#define SYSCORE_DATA	void
#endif

/* Called with one CPU left, interrupts off. */
static int suspend(SYSCORE_DATA)
{
	dune_disable_cpu();
	return 0;
}

static void resume(SYSCORE_DATA)
{
	/* users cannot change meanwhile: user space is frozen. */
	if (users && dune_enable_cpu())
		pr_warn("dune: virtualisation cannot be turned on again\n");
}

#ifdef DUNE_SYSCORE_DATA
static const struct syscore_ops syscore_ops = {
	.suspend = suspend,
	.resume = resume,
};

static struct syscore syscore = {
	.ops = &syscore_ops,
};

#define register_syscore_ops	register_syscore
#define unregister_syscore_ops	unregister_syscore
#else
static struct syscore_ops syscore = {
	.suspend = suspend,
	.resume = resume,
};
#endif

static void disable(void *unused)
{
	dune_disable_cpu();
}

static int reboot(struct notifier_block *block, unsigned long event, void *data)
{
	mutex_lock(&users_lock);
	WRITE_ONCE(rebooting, true);
	mutex_unlock(&users_lock);
	on_each_cpu(disable, NULL, 1);
	return NOTIFY_OK;
}

static struct notifier_block reboot_block = {
	.notifier_call = reboot,
};

int dune_hardware_init(void)
{
	int ret = register_reboot_notifier(&reboot_block);

	if (!ret)
		register_syscore_ops(&syscore);
	return ret;
}

void dune_hardware_exit(void)
{
	unregister_syscore_ops(&syscore);
	unregister_reboot_notifier(&reboot_block);
}

//! Requests of /dev/kvm.

use core::mem::size_of;
use kvm_bindings as kvm;

const fn request(direction: u64, number: u64, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | 0xae << 8 | number
}
const fn none(number: u64) -> u64 {
    request(0, number, 0)
}
const fn write<T>(number: u64) -> u64 {
    request(1, number, size_of::<T>())
}
const fn read<T>(number: u64) -> u64 {
    request(2, number, size_of::<T>())
}
const fn both<T>(number: u64) -> u64 {
    request(3, number, size_of::<T>())
}

pub const GET_API_VERSION: u64 = none(0x00);
pub const CREATE_VM: u64 = none(0x01);
pub const CHECK_EXTENSION: u64 = none(0x03);
pub const GET_VCPU_MMAP_SIZE: u64 = none(0x04);
pub const GET_SUPPORTED_CPUID: u64 = both::<kvm::kvm_cpuid2>(0x05);
pub const CREATE_VCPU: u64 = none(0x41);
pub const SET_USER_MEMORY_REGION: u64 = write::<kvm::kvm_userspace_memory_region>(0x46);
pub const RUN: u64 = none(0x80);
pub const GET_REGS: u64 = read::<kvm::kvm_regs>(0x81);
pub const SET_REGS: u64 = write::<kvm::kvm_regs>(0x82);
pub const GET_SREGS: u64 = read::<kvm::kvm_sregs>(0x83);
pub const SET_SREGS: u64 = write::<kvm::kvm_sregs>(0x84);
pub const SET_MSRS: u64 = write::<kvm::kvm_msrs>(0x89);
pub const SET_SIGNAL_MASK: u64 = write::<kvm::kvm_signal_mask>(0x8b);
pub const SET_CPUID2: u64 = write::<kvm::kvm_cpuid2>(0x90);
pub const GET_XSAVE: u64 = read::<[u8; 4096]>(0xa4);
pub const SET_XSAVE: u64 = write::<[u8; 4096]>(0xa5);
pub const SET_XCRS: u64 = write::<kvm::kvm_xcrs>(0xa7);
pub const SET_DEVICE_ATTR: u64 = write::<kvm::kvm_device_attr>(0xe1);

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_those_of_the_documentation() {
        assert_eq!(super::GET_API_VERSION, 0xae00);
        assert_eq!(super::RUN, 0xae80);
        assert_eq!(super::SET_USER_MEMORY_REGION, 0x4020_ae46);
        assert_eq!(super::GET_SREGS, 0x8138_ae83);
        assert_eq!(super::SET_CPUID2, 0x4008_ae90);
    }
}

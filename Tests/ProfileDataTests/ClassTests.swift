// SPDX-License-Identifier: MIT

import Platform
import ProfileData
import TestSupport
import Testing

@Suite("KernelClass")
struct ClassTests {
    @Test(
        "A kernel's name tells its class",
        arguments: [
            ("void deep_ep::internode::dispatch<false, 8, true>(int4*)", KernelClass.dispatch),
            ("void dpsk::ep::internode_ll::combine<7168>(void*)", .combine),
            ("void deep_ep::internode::cached_notify<false>(int)", .notify),
            ("void deep_ep::layout::get_dispatch_layout<256>(long const*)", .layout),
            ("ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)", .collective),
            // A library's kernel that is instantiated inside the namespace.
            ("void dpsk::ep::cub::DeviceRadixSortOnesweepKernel<int>(int*)", .other),
            ("void at::native::dispatch<int>(int)", .other),
            (
                "void cutlass::device_kernel<a::m_grouped_fp8::GemmKernel>(a::m_grouped_fp8::GemmKernel::Params)",
                .groupedGemm
            ),
            ("void deep_gemm::fp8_gemm_kernel<7168u, (deep_gemm::GemmType)1>(float*)", .groupedGemm),
            ("void deep_gemm::fp8_gemm_kernel<7168u, (deep_gemm::GemmType)0>(float*)", .denseGemm),
            ("void deep_gemm::sm90_fp8_wgrad_gemm<1>(float*)", .weightGradientGemm),
            ("void (anonymous namespace)::elementwise_kernel_with_index<int>(int)", .other),
            ("void flash::flash_fwd_splitkv_mla_kernel<x>(p)", .attentionForward),
            ("void layer_norm::ln_fwd_kernel<a, flash>(x)", .norm), ("rotary_kernel", .rope), ("", .other),
            ("ep combine", .combine), ("gemm", .denseGemm), ("attention", .attentionForward),
            ("attention block", .other),
            ("<", .other), ("(", .other), ("void cutlass::device_kernel<", .other), (">>", .other),
        ])
    func classes(name: String, kernelClass: KernelClass) {
        #expect(KernelClass(kernelName: name) == kernelClass, "\(name)")
    }

    @Test("Words of the command line name classes")
    func words() {
        #expect(KernelClass.named("attention") == [.attentionForward, .attentionBackward])
        #expect(KernelClass.named("weight-gradient-gemm") == [.weightGradientGemm])
        #expect(KernelClass.named("dispatch") == [.dispatch])
        #expect(KernelClass.named("nothing") == nil)
    }

    @Test("Unions, intersections and differences of time")
    func ranges() {
        let a = TimeRanges([5..<8, 0..<3, 2..<4, 4..<4])
        #expect(a.ranges == [0..<4, 5..<8] && a.total == 7)
        #expect(a.intersection(TimeRanges([3..<6])).ranges == [3..<4, 5..<6])
        #expect(a.subtracting(TimeRanges([1..<2, 3..<6])).ranges == [0..<1, 2..<3, 6..<8])
        #expect(a.subtracting(TimeRanges([Range<Int64>]())) == a)
    }
}

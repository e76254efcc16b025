// SPDX-License-Identifier: MIT

import CFathom

/// What the processor can do, as far as Fathom's kernels ask.
public struct CPUFeatures: Sendable, Equatable {
    /// AVX2 with FMA and F16C, usable under this operating system.
    public let hasAVX2: Bool
    /// AVX-512 F, BW, DQ, VL, BF16 and VBMI with AVX2, FMA and F16C, usable under this operating system.
    public let hasAVX512: Bool
    /// The processor's name, for instance `AMD EPYC 7B13`; the architecture's where the system does not tell.
    public let brand: String

    /// The processor that this process runs on.
    public static let current = CPUFeatures(
        hasAVX2: fathom_cpu_supports_avx2(), hasAVX512: fathom_cpu_supports_avx512(), brand: readBrand())

    private static func readBrand() -> String {
        ProcFile.field("model name", in: "/proc/cpuinfo") ?? architecture
    }

    private static var architecture: String {
        #if arch(x86_64)
        "x86-64"
        #elseif arch(arm64)
        "ARM64"
        #else
        "unknown processor"
        #endif
    }
}

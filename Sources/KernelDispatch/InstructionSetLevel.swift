// SPDX-License-Identifier: MIT

public import Kernels
internal import KernelsBaseline
public import Platform

#if arch(x86_64)
internal import KernelsAVX2
internal import KernelsAVX512
#endif

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// The instruction sets that kernels are compiled for, lowest first.
public enum InstructionSetLevel: String, Sendable, CaseIterable, Comparable {
    case baseline
    case avx2
    case avx512

    public static func < (a: Self, b: Self) -> Bool {
        (allCases.firstIndex(of: a) ?? 0) < (allCases.firstIndex(of: b) ?? 0)
    }

    /// The levels that this processor can run, lowest first.
    public static let available: [InstructionSetLevel] = allCases.filter { level in
        switch level {
        case .baseline: true
        case .avx2: CPUFeatures.current.hasAVX2
        case .avx512: CPUFeatures.current.hasAVX512
        }
    }

    /// The highest level available, or the one that the environment's `FATHOM_ISA` names.
    ///
    /// - Throws: `configuration` if `FATHOM_ISA` names no level or one that this processor cannot run.
    public static func selected() throws(FathomError) -> InstructionSetLevel {
        // SAFETY: getenv's string is copied at once.
        guard let raw = getenv("FATHOM_ISA") else { return available.last ?? .baseline }
        let text = String(cString: raw)
        guard let level = available.first(where: { $0.rawValue == text }) else {
            let legal = available.map(\.rawValue).joined(separator: ", ")
            throw FathomError(.configuration, "FATHOM_ISA is '\(text)'; this processor has: \(legal)")
        }
        return level
    }

    /// The level's products of bfloat16 pairs; nil where it has none. The processor must be able to run them.
    public var pairKernels: PairKernels? {
        #if arch(x86_64)
        self == .avx512 ? avx512PairKernels : nil
        #else
        nil
        #endif
    }

    /// The level's attention on bfloat16 pairs; nil where it has none. The processor must be able to run it.
    public var pairAttention: PairAttentionKernels? {
        #if arch(x86_64)
        self == .avx512 ? avx512PairAttention : nil
        #else
        nil
        #endif
    }

    /// The level's sums of rows. The processor must be able to run them.
    public var rowSums: RowSumKernels {
        #if arch(x86_64)
        switch self {
        case .baseline: baselineRowSums
        case .avx2: avx2RowSums
        case .avx512: avx512RowSums
        }
        #else
        baselineRowSums
        #endif
    }

    /// The level's LogFMT-10. The processor must be able to run it.
    public var logFMT: LogFMTKernels {
        #if arch(x86_64)
        switch self {
        case .baseline: baselineLogFMT
        case .avx2: avx2LogFMT
        case .avx512: avx512LogFMT
        }
        #else
        baselineLogFMT
        #endif
    }

    /// The level's kernels. The processor must be able to run them.
    public var kernels: KernelTable {
        switch self {
        case .baseline: return baselineKernels
        case .avx2:
            #if arch(x86_64)
            return avx2Kernels
            #else
            return baselineKernels
            #endif
        case .avx512:
            #if arch(x86_64)
            return avx512Kernels
            #else
            return baselineKernels
            #endif
        }
    }
}

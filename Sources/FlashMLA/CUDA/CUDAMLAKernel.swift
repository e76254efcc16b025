// SPDX-License-Identifier: MIT

package import CUDA

/// The GPU's decode kernels for one type of numbers: what they are called and how they are compiled.
package struct CUDAMLAKernel: Hashable, Sendable {
    /// Type of queries, cache and results.
    package enum Element: String, Sendable, CaseIterable {
        case bfloat16 = "bf16"
        case float16 = "fp16"
    }

    package var element: Element
    /// Keys are packed FP8 rows that index lists name, instead of pages of a cache.
    package var isSparse: Bool

    package init(_ element: Element, isSparse: Bool = false) {
        self.element = element
        self.isSparse = isSparse
    }

    /// Attention over the stretches of a part; the cut of requests into parts; the sum of a request's pieces.
    package static let attention = "fathom_mla"
    package static let schedule = "fathom_mla_schedule"
    package static let combine = "fathom_mla_combine"

    /// Width of keys and of values, tokens of a page, query rows of a tile.
    package static let keyWidth = 576
    package static let valueWidth = 512
    package static let pageSize = 64
    package static let tileRows = 64
    /// Threads of a block of the attention kernel.
    package static let threadCount = 384
    /// Dynamic shared memory of a block in bytes; `mla_layout.cuh` computes the same.
    package static var sharedBytes: Int { 9 * 8192 * 3 + 4 * tileRows * 4 + 2 * pageSize * 4 + 18 * 8 + 4 * 8 }

    /// The text of `mla_layout.cuh`.
    package static var layoutText: String { String(decoding: PackageResources.mla_layout_cuh, as: UTF8.self) }

    /// What the run-time compiler is given.
    ///
    /// - Parameter waitLimitNanoseconds: a wait in the kernel that takes longer is an error instead of a hang; nil for
    ///   no limit (and no cost).
    package func source(waitLimitNanoseconds: Int? = nil) -> KernelSource {
        let type: WarpgroupInstruction.Element = element == .bfloat16 ? .bfloat16 : .float16
        let products = [
            WarpgroupInstruction(name: "multiplyScores", columns: 64, element: type),
            WarpgroupInstruction(
                name: "multiplyOwnWeights", columns: 256, element: type, leftInRegisters: true,
                rightIsTransposed: true),
            WarpgroupInstruction(
                name: "multiplySharedWeights", columns: 256, element: type, rightIsTransposed: true),
        ]
        let pack = element == .bfloat16 ? "packBFloat16" : "packFloat16"
        let text = """
            #pragma once
            #include "hopper.cuh"
            constexpr bool kSparse = \(isSparse);
            FATHOM_INLINE fathom::u32 packPair(float low, float high) { return fathom::\(pack)(low, high); }

            """
        return KernelSource(
            name: "mla.cu", text: String(decoding: PackageResources.mla_cu, as: UTF8.self),
            headers: DeviceHeaders.all + [
                KernelSource.Header(name: "mla_layout.cuh", text: Self.layoutText),
                KernelSource.Header(name: "multiply.cuh", text: text + products.map(\.source).joined()),
            ],
            options: waitLimitNanoseconds.map { ["-DFATHOM_WAIT_LIMIT=\($0)ull"] } ?? [])
    }
}

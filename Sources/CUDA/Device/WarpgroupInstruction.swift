// SPDX-License-Identifier: MIT

/// One matrix instruction of a warpgroup (`wgmma.mma_async`, 64 rows), as the text of a device function.
///
/// Kernels are specialised at run time, so only the instructions that a kernel asks for are written, for their exact
/// width and types. The function is `void name(float (&d)[columns / 2], u64 a, u64 b, bool accumulate)`, where `a` and
/// `b` are descriptors (`descriptorKMajor`, `descriptorMNMajor`); with the left operand in registers it is
/// `void name(float (&d)[columns / 2], u32 a0, u32 a1, u32 a2, u32 a3, u64 b, bool accumulate)`. The order of
/// registers is that of `accumulatorRow`, `operandRow` and their neighbours in `layout.cuh`. `columns` is a multiple of
/// 8 in 8...256. Source: PTX ISA 8.x, wgmma.mma_async.
package struct WarpgroupInstruction: Hashable, Sendable {
    /// Type of both operands; sums are float32.
    package enum Element: String, Sendable, CaseIterable {
        case bfloat16 = "bf16"
        case float16 = "f16"
        case float8E4M3 = "e4m3"
        case float8E5M2 = "e5m2"

        /// Depth of one instruction: 32 bytes of each row.
        package var depth: Int { isByte ? 32 : 16 }
        fileprivate var isByte: Bool { self == .float8E4M3 || self == .float8E5M2 }
    }

    package var name: String
    package var columns: Int
    package var element: Element
    /// The left operand is four registers of each thread instead of a descriptor.
    package var leftInRegisters: Bool
    /// The right operand is stored with its columns running fastest (16-bit types only).
    package var rightIsTransposed: Bool

    package init(
        name: String, columns: Int, element: Element, leftInRegisters: Bool = false, rightIsTransposed: Bool = false
    ) {
        precondition(columns % 8 == 0 && (8...256).contains(columns), "columns are a multiple of 8 in 8...256")
        precondition(!rightIsTransposed || !element.isByte, "operands of one byte are K-major")
        self.name = name
        self.columns = columns
        self.element = element
        self.leftInRegisters = leftInRegisters
        self.rightIsTransposed = rightIsTransposed
    }

    /// The device function, for use after `#include "hopper.cuh"`.
    package var source: String {
        let sums = columns / 2
        func operands(_ range: Range<Int>) -> String { range.map { "%\($0)" }.joined(separator: ", ") }
        let left = leftInRegisters ? "{\(operands(sums..<sums + 4))}" : "%\(sums)"
        let next = sums + (leftInRegisters ? 4 : 1)
        var immediates = "p, 1, 1"
        if !element.isByte {
            immediates += (leftInRegisters ? "" : ", 0") + (rightIsTransposed ? ", 1" : ", 0")
        }
        let shape = "m64n\(columns)k\(element.depth).f32.\(element.rawValue).\(element.rawValue)"
        let parameters =
            leftInRegisters ? (0..<4).map { "fathom::u32 a\($0)" }.joined(separator: ", ") : "fathom::u64 a"
        let inputs =
            (leftInRegisters ? (0..<4).map { "\"r\"(a\($0))" } : ["\"l\"(a)"]) + ["\"l\"(b)", "\"r\"(int(accumulate))"]
        return """
            FATHOM_INLINE void \(name)(float (&d)[\(sums)], \(parameters), fathom::u64 b, bool accumulate) {
                asm volatile(
                    "{\\n.reg .pred p;\\n setp.ne.b32 p, %\(next + 1), 0;\\n"
                    "wgmma.mma_async.sync.aligned.\(shape) "
                    "{\(operands(0..<sums))}, "
                    "\(left), %\(next), \(immediates);\\n}"
                    : \((0..<sums).map { "\"+f\"(d[\($0)])" }.joined(separator: ", "))
                    : \(inputs.joined(separator: ", ")));
            }

            """
    }
}

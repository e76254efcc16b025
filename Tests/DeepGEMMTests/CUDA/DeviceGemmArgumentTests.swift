// SPDX-License-Identifier: MIT

import DeepGEMM
import Platform
import Testing

@Suite("Arguments of products on a GPU")
struct DeviceGemmArgumentTests {
    private static func call(_ change: (inout Parts) -> Void = { _ in }) -> DeviceGemmCall {
        var parts = Parts()
        change(&parts)
        return DeviceGemmCall(a: parts.a, b: parts.b, groups: parts.groups, c: parts.c, d: parts.d)
    }

    private struct Parts {
        var a = DeviceOperand(
            4096, .float8E4M3, rowCount: 100, columnCount: 256,
            scales: DeviceScales(8192, rows: 1, blockStride: 100))
        var b = DeviceOperand(
            4096, .float8E4M3, rowCount: 384, columnCount: 256,
            scales: DeviceScales(8192, rows: 128, blockStride: 4))
        var groups: DeviceGroupLayout?
        var c: DeviceResult?
        var d = DeviceResult(4096, .bfloat16, stride: 384)
    }

    @Test("Legal arguments become a shape")
    func legal() throws {
        let shape = try Self.call().checkedShape()
        #expect(shape.m == 100 && shape.n == 384 && shape.k == 256 && shape.output == .bfloat16)
        let added = try Self.call {
            $0.d = DeviceResult(4096, .float32, stride: 384)
            $0.c = $0.d
        }.checkedShape()
        #expect(added.output == .accumulatingFloat32)
        let masked = try Self.call {
            $0.a.groupCount = 3
            $0.b.groupCount = 3
            $0.a.scales?.groupStride = 200
            $0.b.scales?.groupStride = 8
            $0.d.groupStride = 100 * 384
            $0.groups = .masked(4096, expected: 20)
        }.checkedShape()
        #expect(masked.grouping == .masked && masked.m == 20 && masked.groups == 3)
    }

    private static let mistakes: [(String, @Sendable (inout Parts) -> Void)] = [
        ("A is fp32", { $0.a.format = .float32 }),
        ("multiples of 16 bytes", { $0.a.address = 4104 }),
        ("A's rows are 260 bytes apart", { $0.a.stride = 260 }),
        ("both are K", { $0.b.columnCount = 128 }),
        ("A is fp8 and B is bf16", { $0.b.format = .bfloat16 }),
        ("without scales", { $0.b.scales = nil }),
        ("128×128", { $0.a.scales?.rows = 128 }),
        ("multiple of 4", { $0.a.scales?.blockStride = 101 }),
        (
            "an ordinary product",
            {
                $0.b.groupCount = 2; $0.b.scales?.groupStride = 8
            }
        ),
        ("aligned to 100 rows", { $0.groups = .ids(4096, alignment: 100) }),
        (
            "take",
            {
                $0.groups = .masked(4096, expected: 1); $0.b.groupCount = 2; $0.b.scales?.groupStride = 8
            }
        ),
        ("D is fp8", { $0.d.format = .float8E4M3 }),
        ("D's rows", { $0.d.stride = 385 }),
        ("384…", { $0.d.stride = 383 }),
        ("C differs", { $0.c = DeviceResult(1 << 20, .bfloat16, stride: 384) }),
    ]

    @Test("A mistake is named with what is legal", arguments: 0..<15)
    func mistakes(_ index: Int) throws {
        let (text, change) = Self.mistakes[index]
        do throws(FathomError) {
            _ = try Self.call(change).checkedShape()
            Issue.record("'\(text)' was let through")
        } catch {
            #expect(error.code == .usage)
            #expect("\(error)".contains(text), "\(error)")
        }
    }

    @Test("Scales of weights are turned for the device")
    func transposed() throws {
        let grid = try ScaleGrid(
            [1, 2, 3, 4, 5, 6], granularity: ScaleGranularity(rows: 128, columns: 128), rowCount: 300, columnCount: 256)
        #expect(DeviceScales.values(transposing: grid) == [1, 3, 5, 0, 2, 4, 6, 0])
        let scales = DeviceScales(4096, of: grid)
        #expect(scales.blockStride == 4 && scales.groupStride == 8 && scales.rows == 128)
    }
}

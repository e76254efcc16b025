// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Tensors
import Testing

/// The quantisers against another implementation of their definition.
@Suite("Quantisers against another implementation")
struct QuantizerChecksumTests {
    /// CRC-32 (IEEE) of bytes.
    private func crc(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        let table = (0..<256 as Range<UInt32>).map { byte in
            (0..<8).reduce(byte) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
        }
        return ~bytes.reduce(~0) { $0 >> 8 ^ table[Int(($0 ^ UInt32($1)) & 0xFF)] }
    }

    /// 96 rows of 640 numbers over eleven powers of two, which any program can make.
    private func input() throws -> AlignedBuffer<Float> {
        let buffer = try AlignedBuffer<Float>(count: 96 * 640, purpose: "test")
        for index in 0..<buffer.count {
            let bits = Int32(truncatingIfNeeded: index &* 2_654_435_761)
            let scale = Float(sign: .plus, exponent: index / 512 % 9 - 32, significand: 1)
            buffer.baseAddress[index] = Float(bits) * scale
        }
        return buffer
    }

    // Computed once with numpy 2 and ml_dtypes 0.5 in float32; FP4 by a search among the midpoints.
    @Test(
        "Codes and scales have numpy's checksums",
        arguments: [
            (QuantizedMatrix.Format.float8E4M3, ScaleGranularity.perToken(), false, 0xE1A1_3354, 0xE5C4_C205),
            (.float8E4M3, .perToken(), true, 0xB55C_BB6B, 0x7678_9E5A),
            (.float8E4M3, .perBlock(32), false, 0x47E3_D6D0, 0x073D_CD23),
            (.float8E4M3, .perChannel(96), false, 0xF8E1_7566, 0x023A_7FA4),
            (.float4E2M1, .perToken(32), false, 0xBF04_E1C2, 0x42B7_23A1),
            (.float4E2M1, .perToken(32), true, 0xEFBE_8FE0, 0x3A42_B0AE),
        ] as [(QuantizedMatrix.Format, ScaleGranularity, Bool, UInt32, UInt32)])
    func checksums(
        format: QuantizedMatrix.Format, granularity: ScaleGranularity, powerOfTwo: Bool, codes: UInt32,
        scales: UInt32
    ) throws {
        let buffer = try input()
        #expect(crc(UnsafeRawBufferPointer(start: buffer.baseAddress, count: buffer.count * 4)) == 0x4C6E_C3F4)
        let rows = try FloatRows(buffer, rowCount: 96, columnCount: 640)
        for level in InstructionSetLevel.available {
            let context = try ComputeContext(threadCount: 2, level: level)
            let found =
                format == .float8E4M3
                ? try quantizeFloat8(rows, granularity: granularity, powerOfTwoScales: powerOfTwo, on: context)
                : try quantizeFloat4(rows, granularity: granularity, powerOfTwoScales: powerOfTwo, on: context)
            let values = found.scales.values
            #expect(
                crc(UnsafeRawBufferPointer(start: found.codes.baseAddress, count: found.codes.count)) == codes)
            #expect(crc(UnsafeRawBufferPointer(start: values.baseAddress, count: values.count * 4)) == scales)
        }
    }
}

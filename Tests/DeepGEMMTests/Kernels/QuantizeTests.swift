// SPDX-License-Identifier: MIT

import DeepGEMM
import KernelDispatch
import Kernels
import LowPrecision
import Platform
import TestSupport
import Testing

@Suite("Activation quantisation")
struct QuantizeTests {
    /// What `LowPrecision` says, block by block, back as floats.
    private func reference(_ x: [Float], block: Int, powerOfTwoScales: Bool) -> [Float] {
        var out: [Float] = []
        for start in stride(from: 0, to: x.count, by: block) {
            let (codes, scale) = ActivationQuantization.quantizeBlock(
                x[start..<min(start + block, x.count)], powerOfTwoScales: powerOfTwoScales)
            out += codes.map { Float($0) * scale }
        }
        return out
    }

    /// Codes times scales of `quantizeE4M3` for activations, which writes nothing else.
    private func quantized(
        _ x: [Float], block: Int, powerOfTwoScales: Bool, _ level: InstructionSetLevel
    ) -> (values: [Float], codes: [Float8E4M3], scales: [Float]) {
        let input = GuardedBuffer(x)
        let codes = GuardedBuffer<UInt8>(count: x.count, repeating: 0xEE)
        let scales = GuardedBuffer(poisoned: (x.count + block - 1) / block)
        var arguments = QuantizeArguments(
            source: input.start, sourceStride: 0, rowCount: 1, columnCount: x.count, blockColumns: block,
            powerOfTwoScales: powerOfTwoScales, areActivations: true, codes: codes.start, codeStride: 0,
            scales: scales.start)
        level.kernels.quantizeE4M3Float32(&arguments)
        #expect(codes.isIntact && scales.isIntact && input.isIntact)
        let numbers = codes.values.map { Float8E4M3(bitPattern: $0) }
        let values = numbers.enumerated().map { Float($0.element) * scales.start[$0.offset / block] }
        return (values, numbers, scales.values)
    }

    private func expectReference(
        _ x: [Float], block: Int, powerOfTwoScales: Bool, _ level: InstructionSetLevel, _ what: String
    ) {
        let found = quantized(x, block: block, powerOfTwoScales: powerOfTwoScales, level).values
        let expected = reference(x, block: block, powerOfTwoScales: powerOfTwoScales)
        expectSameBits(found, expected, "\(what), block \(block), \(x.count) numbers")
    }

    @Test(
        "Random rows of every length have the reference's bits", arguments: InstructionSetLevel.available,
        [false, true])
    func random(level: InstructionSetLevel, powerOfTwoScales: Bool) {
        var random = RandomNumbers(seed: 17)
        for block in [8, 16, 24, 128] {
            for count in [0, 1, 7, 8, 9, 100, 127, 128, 129, 260, 1030] {
                for magnitude: Float in [1, 1e-6, 3e4] {
                    let x = random.normals(count).map { $0 * magnitude }
                    expectReference(
                        x, block: block, powerOfTwoScales: powerOfTwoScales, level, "×\(magnitude)")
                }
            }
        }
    }

    @Test(
        "Zeros, signs of zero, subnormal, huge and mixed numbers have the reference's bits",
        arguments: InstructionSetLevel.available, [false, true])
    func special(level: InstructionSetLevel, powerOfTwoScales: Bool) {
        let largest = Float.greatestFiniteMagnitude
        let rows: [(String, [Float])] = [
            ("zeros", [Float](repeating: 0, count: 130)),
            ("negative zeros", [Float](repeating: -0, count: 130)),
            ("subnormal", (0..<130).map { Float(bitPattern: UInt32($0)) * ($0 % 2 == 0 ? 1 : -1) }),
            ("huge", (0..<130).map { largest / Float($0 + 1) * ($0 % 3 == 0 ? -1 : 1) }),
            (
                "wide",
                (0..<130).map {
                    Float(sign: $0 % 2 == 0 ? .plus : .minus, exponent: $0 - 65, significand: 1.3)
                }
            ),
            ("halfway", (0..<128).map { $0 == 0 ? 448 : Float($0 % 64) * 0.5 + 0.25 }),
            ("codes", (0..<127).map { Float(Float8E4M3(bitPattern: UInt8($0))) }),
            ("below the smallest maximum", (0..<128).map { Float($0) * 7e-7 }),
        ]
        for (name, row) in rows {
            expectReference(row, block: 128, powerOfTwoScales: powerOfTwoScales, level, name)
        }
    }

    @Test(
        "A NaN does not enter the other numbers' scale, and makes the block's scale NaN",
        arguments: InstructionSetLevel.available)
    func notANumber(level: InstructionSetLevel) {
        var random = RandomNumbers(seed: 18)
        var x = random.normals(140)
        let places = [0, 5, 77, 139]
        for place in places { x[place] = .nan }
        x[60] = .infinity
        let found = quantized(x, block: 8, powerOfTwoScales: false, level)
        let finite = x.map { $0.isFinite ? $0 : 0 }
        let expected = quantized(finite, block: 8, powerOfTwoScales: false, level)
        for block in found.scales.indices {
            let isTainted = x[block * 8..<min(block * 8 + 8, x.count)].contains { !$0.isFinite }
            #expect(isTainted == found.scales[block].isNaN, "block \(block)")
            guard !isTainted else { continue }
            #expect(found.scales[block] == expected.scales[block])
        }
        for place in places {
            #expect(Float(found.codes[place]).isNaN)
            for index in place / 8 * 8..<min(place / 8 * 8 + 8, x.count) where !places.contains(index) {
                #expect(found.codes[index] == expected.codes[index])
            }
        }
    }

    @Test("Rounding to E4M3 is LowPrecision's over every interesting bit pattern")
    func roundE4M3() {
        // With a largest magnitude of 448 the scale is one, and the rounding shows itself.
        let finite = interestingFloats(seed: 4).filter { abs($0) <= 448 }
        for level in InstructionSetLevel.available {
            for start in stride(from: 0, to: finite.count, by: 127) {
                let x = [448] + finite[start..<min(start + 127, finite.count)]
                let found = quantized(x, block: 128, powerOfTwoScales: false, level).values
                expectSameBits(found, x.map { Float(Float8E4M3($0)) }, "\(level) from \(start)")
            }
        }
    }
}

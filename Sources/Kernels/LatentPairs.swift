// SPDX-License-Identifier: MIT

/// Decodes one packed row to bfloat16 as `pairAttentionBlock` takes it: in each run of 64 columns of codes the first
/// eight of every sixteen, then the second eight; the plain numbers follow in their order.
///
/// - Parameters:
///   - arguments: `out` is a row of floats for scratch.
///   - out: bfloat16 [groupCount · groupWidth + plainCount]; codes are multiples of 64.
@inlinable @inline(__always)
public func decodeLatentPairs<I: PairAttentionInstructionSet>(
    _: I.Type, _ arguments: UnsafePointer<PackedLatentArguments>, to out: UnsafeMutableRawPointer
) {
    let g = arguments.pointee
    let width = g.groupCount &* g.groupWidth
    if !decodeQuickly(I.self, g, to: out) {
        decodePackedLatent(I.self, arguments)
        var column = 0
        while column < width {
            for quarter in 0..<4 {
                let source = UnsafeRawPointer(g.out + (column &+ 16 &* quarter))
                let target = out + (2 &* column &+ 16 &* quarter)
                let numbers = I.roundPairs(source.loadUnaligned(as: SIMD16<Float>.self))
                target.storeBytes(of: numbers.lowHalf, as: SIMD8<UInt16>.self)
                target.storeBytes(of: numbers.highHalf, toByteOffset: 64, as: SIMD8<UInt16>.self)
            }
            column &+= 64
        }
    }
    var k = 0
    while k < g.plainCount {
        (out + 2 &* (width &+ k)).storeBytes(
            of: (g.plain + 2 &* k).loadUnaligned(as: SIMD16<UInt32>.self), as: SIMD16<UInt32>.self)
        k &+= 32
    }
}

/// Decodes the codes of a row whose codes are numbers and whose scales are modest powers of two; false for another,
/// of which anything may have been written.
@inlinable @inline(__always)
func decodeQuickly<I: PairAttentionInstructionSet>(
    _: I.Type, _ g: PackedLatentArguments, to out: UnsafeMutableRawPointer
) -> Bool {
    guard g.coding != .float4 else { return false }
    // The sign bit of a byte is set where its code is that of NaN.
    var found = SIMD16<UInt32>()
    let isHalved = g.groupWidth == 32
    let runs = isHalved ? 1 : g.groupWidth / 64
    var codes = g.codes
    var target = out
    var group = 0
    while group < g.groupCount {
        let first = packedScale(g, group).bitPattern
        let second = isHalved ? packedScale(g, group &+ 1).bitPattern : first
        guard isModestScale(first), isModestScale(second) else { return false }
        let low = UInt16(truncatingIfNeeded: (first &>> 23 &- 127) &<< 7)
        let high = UInt16(truncatingIfNeeded: (second &>> 23 &- 127) &<< 7)
        for _ in 0..<runs {
            let run = codes.loadUnaligned(as: SIMD16<UInt32>.self)
            found |= (run & 0x7F7F_7F7F) &+ 0x0101_0101
            target.storeBytes(of: I.raise(I.lowerE4M3(run), low: low, high: high), as: SIMD16<UInt32>.self)
            target.storeBytes(
                of: I.raise(I.upperE4M3(run), low: low, high: high), toByteOffset: 64, as: SIMD16<UInt32>.self)
            codes += 64
            target += 128
        }
        group &+= isHalved ? 2 : 1
    }
    let half = found.lowHalf | found.highHalf
    let quarter = half.lowHalf | half.highHalf
    return (quarter[0] | quarter[1] | quarter[2] | quarter[3]) & 0x8080_8080 == 0
}

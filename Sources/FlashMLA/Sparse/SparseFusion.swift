// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import LowPrecision

// SAFETY: In this file, addresses are those of checked arguments and of scratch with room for a row.

/// What is done to a query before, and to a result after attention.
struct SparseFusion {
    let norm: QueryNorm?
    let rotation: QueryRotation
    let results: QuantizedResults

    /// Normalises and turns a query [width] of floats in place, and rounds it to bfloat16 in `rounded`.
    func prepare(
        _ query: UnsafeMutablePointer<Float>, width: Int, token: Int, rounded: UnsafeMutablePointer<UInt16>,
        _ kernels: KernelTable
    ) {
        if let norm, let weights = norm.weights.baseAddress {
            kernels.rmsNorm(query, weights, norm.epsilon, query, width)
        }
        turn(query, width: width, token: token, backwards: false)
        kernels.roundBFloat16(query, rounded, width)
    }

    /// Turns a result [width] back in place and stores it as codes and scales.
    func store(
        _ result: UnsafeMutablePointer<Float>, width: Int, token: Int, head: Int, headCount: Int,
        scratch: UnsafeMutablePointer<Float>, _ kernels: KernelTable
    ) {
        turn(result, width: width, token: token, backwards: true)
        guard let codes = results.codes.baseAddress, let scales = results.scales.baseAddress else { return }
        var arguments = QuantizeArguments(
            source: result, sourceStride: 0, rowCount: 1, columnCount: width, blockColumns: 32, powerOfTwoScales: true,
            areActivations: true, codes: codes + (token * headCount + head) * width, codeStride: width, scales: scratch)
        kernels.quantizeE4M3Float32(&arguments)
        for word in 0..<width / 128 {
            var bits: UInt32 = 0
            for run in 0..<4 {
                // The exponent of a power of two; of NaN 0xFF.
                bits |= (scratch[4 * word + run].bitPattern >> 23) << UInt32(8 * run)
            }
            scales[(head * width / 128 + word) * results.scaleStride + token] = bits
        }
    }

    private func turn(_ row: UnsafeMutablePointer<Float>, width: Int, token: Int, backwards: Bool) {
        let pairs = rotation.columnCount / 2
        let position = Int(rotation.positions[token]) * pairs
        for pair in 0..<pairs {
            let column = width - 2 * (pairs - pair)
            let (a, b) = (row[column], row[column + 1])
            let cosine = rotation.cosines[position + pair]
            let sine = backwards ? -rotation.sines[position + pair] : rotation.sines[position + pair]
            row[column] = a * cosine - b * sine
            row[column + 1] = a * sine + b * cosine
        }
    }
}

// SPDX-License-Identifier: MIT

// SAFETY: In this file pointers are a token's coefficients or its products, each `coefficientCount` numbers, or an
// n × n matrix of Doubles that the caller lends.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

extension HyperConnections {
    /// One token's coefficients from its products with the projection, already divided by the root mean square.
    ///
    /// In Double: it is little work, and exponents reach down to e⁻⁷⁰⁰ before a row of the matrix could vanish.
    func coefficients(_ products: UnsafePointer<Float>, into out: UnsafeMutablePointer<Float>) {
        let n = streamCount
        for index in 0..<n {
            let pre = Double(gains.pre) * Double(products[index]) + Double(bias[index])
            out[index] = Float(1 / (1 + exp(-pre)))
            let post = Double(gains.post) * Double(products[n + index]) + Double(bias[n + index])
            out[n + index] = Float(2 / (1 + exp(-post)))
        }
        withUnsafeTemporaryAllocation(of: Double.self, capacity: n * n) { matrix in
            guard let matrix = matrix.baseAddress else { return }
            for index in 0..<n * n {
                matrix[index] = Double(gains.res) * Double(products[2 * n + index]) + Double(bias[2 * n + index])
            }
            exponentiate(matrix, n)
            for _ in 0..<iterations {
                for column in 0..<n { normalize(matrix + column, stride: n, count: n) }
                for row in 0..<n { normalize(matrix + row * n, stride: 1, count: n) }
            }
            for index in 0..<n * n { out[2 * n + index] = Float(matrix[index]) }
        }
    }
}

/// The least exponent, so that every number of the matrix is above zero and sums are.
private let leastExponent = -700.0

/// exp of every number less the largest of its column, which the first division by columns would cancel.
private func exponentiate(_ matrix: UnsafeMutablePointer<Double>, _ n: Int) {
    for column in 0..<n {
        var peak = matrix[column]
        for row in 1..<n where matrix[row * n + column] > peak { peak = matrix[row * n + column] }
        for row in 0..<n {
            let exponent = matrix[row * n + column] - peak
            matrix[row * n + column] = exp(exponent < leastExponent ? leastExponent : exponent)
        }
    }
}

/// Divides numbers by their sum.
private func normalize(_ numbers: UnsafeMutablePointer<Double>, stride: Int, count: Int) {
    var sum = 0.0
    for index in 0..<count { sum += numbers[index * stride] }
    let factor = 1 / sum
    for index in 0..<count { numbers[index * stride] *= factor }
}

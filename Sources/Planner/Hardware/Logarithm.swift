// SPDX-License-Identifier: MIT

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif

/// The logarithm to base 2.
func log2(_ value: Double) -> Double { log(value) / log(2) }

/// The natural logarithm and exponential.
func naturalLogarithm(_ value: Double) -> Double { log(value) }
func exponential(_ value: Double) -> Double { exp(value) }

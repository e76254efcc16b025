// SPDX-License-Identifier: MIT

/// What binds a layer: how much faster it would be if one part of the hardware were better.
public struct Sensitivity: Sendable, Codable, Equatable {
    /// Which part.
    public var part: String
    /// Part of the time of a layer of prefill, and of decode, that 10 % more of it saves.
    public var prefill: Double
    public var decode: Double

    /// How much more of a part is tried.
    public static let gain = 1.1

    /// Every part of the hardware in turn.
    public static func all(
        prefill: PrefillTimes.Work, decode: DecodeTimes.Work, of model: ModelCosts, on hardware: Hardware,
        rates: KernelRates
    ) -> [Sensitivity] {
        let parts: [(String, WritableKeyPath<Hardware, Double>)] = [
            ("FP8 arithmetic", \.float8Teraflops), ("bfloat16 arithmetic", \.bfloat16Teraflops),
            ("memory bandwidth", \.memoryGigabytesPerSecond), ("network", \.networkGigabytesPerSecond),
            ("NVLink", \.nvlinkGigabytesPerSecond),
        ]
        func times(_ hardware: Hardware) -> (prefill: Double, decode: Double) {
            (
                PrefillTimes(prefill, of: model, on: hardware, rates: rates).secondsPerLayer,
                DecodeTimes(decode, of: model, on: hardware, rates: rates).secondsPerLayer
            )
        }
        let usual = times(hardware)
        return parts.map { name, path in
            var better = hardware
            better[keyPath: path] *= gain
            let found = times(better)
            return Sensitivity(
                part: name, prefill: 1 - found.prefill / usual.prefill, decode: 1 - found.decode / usual.decode)
        }
    }
}

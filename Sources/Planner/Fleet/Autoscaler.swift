// SPDX-License-Identifier: MIT

/// Chooses how many steps a fleet has, from what was asked of it in the last window: a pure rule.
///
/// A rising demand is carried on for one more window, since units take time to start; a falling one is followed at
/// once.
struct Autoscaler: Sendable {
    let scaling: ScalingSteps
    let headroom: Double
    private var last: (prefill: Double, decode: Double)?

    init(scaling: ScalingSteps, headroom: Double) {
        (self.scaling, self.headroom) = (scaling, headroom)
    }

    /// - Parameters:
    ///   - prefill: computed tokens per second that were asked for in the window.
    ///   - decode: output tokens per second.
    ///   - prefillCapacity: tokens per second of one unit; likewise `decodeCapacity`.
    /// - Returns: the steps to have.
    mutating func steps(
        prefill: Double, decode: Double, prefillCapacity: Double, decodeCapacity: Double
    ) -> Int {
        let before = last ?? (prefill, decode)
        last = (prefill, decode)
        let needPrefill = (prefill + max(0, prefill - before.prefill)) * (1 + headroom)
        let needDecode = (decode + max(0, decode - before.decode)) * (1 + headroom)
        for steps in 0..<scaling.maximumSteps
        where Double(scaling.prefillUnits(steps: steps)) * prefillCapacity >= needPrefill
            && Double(scaling.decodeUnits(steps: steps)) * decodeCapacity >= needDecode
        {
            return steps
        }
        return scaling.maximumSteps
    }
}

// SPDX-License-Identifier: MIT

import Platform

/// The codes of the driver (`CUresult` in cuda.h) that mean something particular here.
enum CUDACode {
    static let success: Int32 = 0
    static let outOfMemory: Int32 = 2
    static let stubLibrary: Int32 = 34
    static let deviceUnavailable: Int32 = 46
    static let noDevice: Int32 = 100
    static let noBinaryForDevice: Int32 = 209
    /// Work is still going on: the answer of a query, not an error.
    static let notReady: Int32 = 600
    static let systemNotReady: Int32 = 802
    static let driverMismatch: Int32 = 803

    /// What kind of failure a code is.
    static func kind(of code: Int32) -> FathomError.Code {
        switch code {
        case outOfMemory, stubLibrary, deviceUnavailable, noDevice, noBinaryForDevice, systemNotReady,
            driverMismatch:
            .unavailable
        default: .internal
        }
    }
}

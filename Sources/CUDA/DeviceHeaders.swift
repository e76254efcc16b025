// SPDX-License-Identifier: MIT

/// Headers for device code that the kernels of all libraries share (`Device/`).
package enum DeviceHeaders {
    /// `hopper.cuh`: barriers, bulk copies and warpgroup matrix instructions of compute capability 9.0.
    package static var hopper: KernelSource.Header {
        KernelSource.Header(
            name: "hopper.cuh", text: String(decoding: PackageResources.hopper_cuh, as: UTF8.self))
    }
}

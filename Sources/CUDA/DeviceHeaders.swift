// SPDX-License-Identifier: MIT

/// Headers for device code that the kernels of all libraries share (`Device/`).
package enum DeviceHeaders {
    /// Every header: what a kernel's source is given.
    package static let all: [KernelSource.Header] = [
        header("hopper.cuh", PackageResources.hopper_cuh)
    ]

    private static func header(_ name: String, _ bytes: [UInt8]) -> KernelSource.Header {
        KernelSource.Header(name: name, text: String(decoding: bytes, as: UTF8.self))
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* libnvperf_host.so, of which nothing is asked but that it is there. */
int fake_nvperf(void);

int fake_nvperf(void)
{
    return 0;
}

module lkeobs/programs/tempo

go 1.24.3

require github.com/grafana/tempo v1.5.1-0.20250529124718-87c2dc380cec

replace (
	k8s.io/api  => k8s.io/api v0.25.0
	k8s.io/client-go  => k8s.io/client-go v0.25.0
	github.com/hashicorp/memberlist  => github.com/grafana/memberlist v0.3.1-0.20220708130638-bd88e10a3d91
)

//! Which request of the REST API each method of the gRPC API is, as the `google.api.http` options of Argo CD's service definitions say.

use axum::http::Method;

/// One method.
pub struct Call {
    /// `/PACKAGE.SERVICE/METHOD`.
    pub path: &'static str,
    /// What it is asked with.
    pub request: &'static str,
    /// What it answers; of a method that streams, each part.
    pub answer: &'static str,
    /// The request's HTTP method.
    pub method: Method,
    /// The request's path; `{field}` stands for a field of what is asked.
    pub rest: &'static str,
    /// What of it is the body: nothing, one field, or all (`*`). The other fields go into the query.
    pub body: Option<&'static str>,
    /// Whether it answers one part after another.
    pub streams: bool,
}

macro_rules! calls {
    ($($path:literal $method:ident $rest:literal $body:expr, $request:literal => $answer:literal $($streams:ident)?;)*) => {
        &[$(Call {
            path: $path,
            request: $request,
            answer: $answer,
            method: Method::$method,
            rest: $rest,
            body: $body,
            streams: calls!(@ $($streams)?),
        }),*]
    };
    (@ stream) => { true };
    (@) => { false };
}

/// All methods that there are.
pub const CALLS: &[Call] = calls! {
    "/application.ApplicationService/List" GET "/api/v1/applications" None, "ApplicationQuery" => "ApplicationList";
    "/application.ApplicationService/Watch" GET "/api/v1/stream/applications" None, "ApplicationQuery" => "ApplicationWatchEvent" stream;
    "/application.ApplicationService/Create" POST "/api/v1/applications" Some("application"), "ApplicationCreateRequest" => "Application";
    "/application.ApplicationService/Get" GET "/api/v1/applications/{name}" None, "ApplicationQuery" => "Application";
    "/application.ApplicationService/Update" PUT "/api/v1/applications/{application.metadata.name}" Some("application"),
        "ApplicationUpdateRequest" => "Application";
    "/application.ApplicationService/UpdateSpec" PUT "/api/v1/applications/{name}/spec" Some("spec"),
        "ApplicationUpdateSpecRequest" => "ApplicationSpec";
    "/application.ApplicationService/Patch" PATCH "/api/v1/applications/{name}" Some("*"), "ApplicationPatchRequest" => "Application";
    "/application.ApplicationService/Delete" DELETE "/api/v1/applications/{name}" None, "ApplicationDeleteRequest" => "Empty";
    "/application.ApplicationService/Sync" POST "/api/v1/applications/{name}/sync" Some("*"), "ApplicationSyncRequest" => "Application";
    "/application.ApplicationService/Rollback" POST "/api/v1/applications/{name}/rollback" Some("*"),
        "ApplicationRollbackRequest" => "Application";
    "/application.ApplicationService/TerminateOperation" DELETE "/api/v1/applications/{name}/operation" None,
        "OperationTerminateRequest" => "Empty";
    "/application.ApplicationService/ManagedResources" GET "/api/v1/applications/{applicationName}/managed-resources" None,
        "ResourcesQuery" => "ManagedResourcesResponse";
    "/application.ApplicationService/ResourceTree" GET "/api/v1/applications/{applicationName}/resource-tree" None,
        "ResourcesQuery" => "ApplicationTree";
    "/application.ApplicationService/GetManifests" GET "/api/v1/applications/{name}/manifests" None,
        "ApplicationManifestQuery" => "ManifestResponse";
    "/application.ApplicationService/RevisionMetadata" GET "/api/v1/applications/{name}/revisions/{revision}/metadata" None,
        "RevisionMetadataQuery" => "RevisionMetadata";
    "/application.ApplicationService/GetApplicationSyncWindows" GET "/api/v1/applications/{name}/syncwindows" None,
        "ApplicationSyncWindowsQuery" => "ApplicationSyncWindowsResponse";
    "/application.ApplicationService/ListResourceEvents" GET "/api/v1/applications/{name}/events" None,
        "ApplicationResourceEventsQuery" => "EventList";
    "/application.ApplicationService/GetResource" GET "/api/v1/applications/{name}/resource" None,
        "ApplicationResourceRequest" => "ApplicationResourceResponse";
    "/application.ApplicationService/PatchResource" POST "/api/v1/applications/{name}/resource" Some("patch"),
        "ApplicationResourcePatchRequest" => "ApplicationResourceResponse";
    "/application.ApplicationService/DeleteResource" DELETE "/api/v1/applications/{name}/resource" None,
        "ApplicationResourceDeleteRequest" => "Empty";
    "/application.ApplicationService/ListResourceActions" GET "/api/v1/applications/{name}/resource/actions" None,
        "ApplicationResourceRequest" => "ResourceActionsListResponse";
    "/application.ApplicationService/RunResourceAction" POST "/api/v1/applications/{name}/resource/actions" Some("action"),
        "ResourceActionRunRequest" => "Empty";
    "/application.ApplicationService/RunResourceActionV2" POST "/api/v1/applications/{name}/resource/actions/v2" Some("*"),
        "ResourceActionRunRequest" => "Empty";
    "/application.ApplicationService/PodLogs" GET "/api/v1/applications/{name}/logs" None, "ApplicationPodLogsQuery" => "LogEntry" stream;
    "/session.SessionService/Create" POST "/api/v1/session" Some("*"), "SessionCreateRequest" => "SessionResponse";
    "/session.SessionService/Delete" DELETE "/api/v1/session" None, "Empty" => "SessionResponse";
    "/session.SessionService/GetUserInfo" GET "/api/v1/session/userinfo" None, "Empty" => "GetUserInfoResponse";
    "/account.AccountService/CanI" GET "/api/v1/account/can-i/{resource}/{action}/{subresource}" None, "CanIRequest" => "CanIResponse";
    "/account.AccountService/ListAccounts" GET "/api/v1/account" None, "Empty" => "AccountsList";
    "/account.AccountService/GetAccount" GET "/api/v1/account/{name}" None, "GetAccountRequest" => "Account";
    "/cluster.SettingsService/Get" GET "/api/v1/settings" None, "Empty" => "Settings";
    "/version.VersionService/Version" GET "/api/version" None, "Empty" => "VersionMessage";
    "/project.ProjectService/List" GET "/api/v1/projects" None, "ProjectQuery" => "AppProjectList";
    "/project.ProjectService/Get" GET "/api/v1/projects/{name}" None, "ProjectQuery" => "AppProject";
    "/project.ProjectService/GetDetailedProject" GET "/api/v1/projects/{name}/detailed" None, "ProjectQuery" => "DetailedProjectsResponse";
    "/project.ProjectService/GetSyncWindowsState" GET "/api/v1/projects/{name}/syncwindows" None,
        "ProjectQuery" => "ProjectSyncWindowsResponse";
    "/cluster.ClusterService/List" GET "/api/v1/clusters" None, "ClusterQuery" => "ClusterList";
    "/cluster.ClusterService/Get" GET "/api/v1/clusters/{id.value}" None, "ClusterQuery" => "Cluster";
    "/repository.RepositoryService/List" GET "/api/v1/repositories" None, "RepoQuery" => "RepositoryList";
    "/repository.RepositoryService/ListRepositories" GET "/api/v1/repositories" None, "RepoQuery" => "RepositoryList";
    "/repository.RepositoryService/Get" GET "/api/v1/repositories/{repo}" None, "RepoQuery" => "Repository";
};
